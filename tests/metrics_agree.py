#!/usr/bin/env python3
"""What `rustkernel serve` tells at /metrics, read by others: promtool, and the parsers of Prometheus's client.

    tests/metrics_agree.py target/release/rustkernel promtool

Both formats are asked for, as Prometheus and as curl do, and have to say the same. promtool also minds names and units.
"""

import json
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"


def serve(program: str, folder: str) -> tuple[subprocess.Popen, str]:
    # (Nobody listens at the collector's address: spans are counted, which is all that is wanted.)
    command = [program, "serve", "--listen", "127.0.0.1:0", "--endpoint", f"unix:{folder}/metrics.sock"]
    for key in ("metrics_enabled=true", "tracing_enabled=true", "otlp_endpoint=http://127.0.0.1:9"):
        command += ["--set", f"observability.{key}"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    address = re.search(r"http://(\S+)", server.stderr.readline()).group(1)
    assert "serving" in server.stderr.readline()
    return server, address


def get(address: str, accept: str) -> tuple[str, str]:
    request = urllib.request.Request(f"http://{address}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def call(address: str, kernel: str) -> int:
    tensor = {"name": "input", "datatype": "FP32", "shape": [2], "data": [1, 2]}
    body = json.dumps({"inputs": [tensor]}).encode()
    try:
        return urllib.request.urlopen(f"http://{address}/v2/models/{kernel}/infer", body).status
    except urllib.error.HTTPError as error:
        return error.code


def samples(families) -> dict:
    # (Times pass between two looks.)
    own = (sample for family in families for sample in family.samples if "uptime" not in sample.name)
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in own}


def check(address: str, promtool: str) -> int:
    assert (call(address, "scan"), call(address, "saxpy")) == (200, 400)
    kind, newer = get(address, OPENMETRICS)
    assert kind.startswith("application/openmetrics-text; version=1.0.0"), kind
    ours = samples(openmetrics_parser.text_string_to_metric_families(newer))
    kind, older = get(address, "*/*")
    assert kind.startswith("text/plain; version=0.0.4"), kind
    assert samples(parser.text_string_to_metric_families(older)) == ours
    requests = "rustkernel_requests_total"
    assert ours[requests, (("kernel", "scan"), ("outcome", "ok"))] == 1
    assert ours[requests, (("kernel", "saxpy"), ("outcome", "invalid"))] == 1
    checked = subprocess.run([promtool, "check", "metrics"], input=older, text=True, capture_output=True)
    assert checked.returncode == 0 and not checked.stderr, checked.stderr
    return len(ours)


def main() -> None:
    program, promtool = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        server, address = serve(program, folder)
        try:
            count = check(address, promtool)
        finally:
            server.terminate()
        assert server.wait(30) == 0
    print(f"{count} samples in both formats; promtool has nothing to say")


main()
