#!/usr/bin/env python3
"""What `rustkernel serve` answers, held against its own /openapi.json by schemathesis.

    tests/openapi_agrees.py target/release/rustkernel [SECONDS]

Thousands of requests that fit the document, and that do not, with and without a key: no answer that is not in the document,
none that differs from its schema, no 5xx.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# A document of all kernels cannot say which tensors each takes, so that a call may fit it and be refused.
CONFIG = """
[[operations]]
include-path-regex = "/infer$"
checks.positive_data_acceptance.enabled = false
"""


def serve(program: str, folder: str) -> tuple[subprocess.Popen, str, str]:
    keys = f"{folder}/keys.json"
    create = [program, "key", "create", "--role", "admin", "--file", keys]
    key = subprocess.run(create, capture_output=True, text=True, check=True).stdout.strip()
    command = [program, "serve", "--listen", "127.0.0.1:0", "--endpoint", f"unix:{folder}/openapi.sock", "--diagnostics"]
    for setting in ("observability.metrics_enabled=true", "security.rbac_enabled=true", f"security.keys_file={keys}"):
        command += ["--set", setting]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    address = re.search(r"http://(\S+)", server.stderr.readline()).group(1)
    assert "serving" in server.stderr.readline()
    return server, address, key


def check(address: str, key: str, folder: str, seconds: str) -> int:
    config = Path(folder, "schemathesis.toml")
    config.write_text(CONFIG)
    program = Path(sys.executable).parent / "schemathesis"
    command = [program, "--config-file", config, "run", f"http://{address}/openapi.json", "--no-color"]
    # (A kernel that is unloaded answers 503 to all that comes after.)
    command += ["--exclude-path-regex", "/unload$"]
    command += ["--header", f"Authorization: Bearer {key}", "--max-time", seconds, "--continue-on-failure"]
    return subprocess.run(command, cwd=folder, env=os.environ | {"HOME": folder}).returncode


def main() -> None:
    program, seconds = os.path.abspath(sys.argv[1]), (sys.argv[2:] + ["90"])[0]
    with tempfile.TemporaryDirectory() as folder:
        server, address, key = serve(program, folder)
        try:
            failed = check(address, key, folder, seconds)
        finally:
            server.terminate()
        assert server.wait(30) == 0
    sys.exit(failed)


main()
