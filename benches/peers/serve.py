#!/usr/bin/env python3
"""Runs the bench `serve` beside other servers of the Open Inference Protocol, those that are installed:

    python3 -m venv target/peers && target/peers/bin/pip install nvidia-pytriton mlserver
    cargo build --release && target/peers/bin/python benches/peers/serve.py [options of the bench]

NVIDIA Triton comes with nvidia-pytriton; its kernel is triton/saxpy.c, built here by cc against Triton's own C interface, two
instances on the host. MLServer's kernel is NumPy's, in its own process. Each listens on a free port of this machine.
"""

import contextlib
import importlib.util
import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
PATIENCE = 120

CONFIG = """
backend: "saxpy"
input [
  { name: "x", data_type: TYPE_FP32, dims: [ -1 ] },
  { name: "y", data_type: TYPE_FP32, dims: [ -1 ] }
]
output [ { name: "output", data_type: TYPE_FP32, dims: [ -1 ] } ]
instance_group [ { kind: KIND_CPU, count: 2 } ]
"""

RUNTIME = """
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse

class Saxpy(MLModel):
    async def predict(self, request):
        x, y = (NumpyCodec.decode_input(tensor) for tensor in request.inputs)
        output = NumpyCodec.encode_output("output", 2 * x + y)
        return InferenceResponse(model_name=self.name, outputs=[output])
"""


def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def triton(folder: pathlib.Path) -> tuple[list[str], int] | None:
    package = importlib.util.find_spec("pytriton")
    if package is None:
        return None
    server = pathlib.Path(package.origin).parent / "tritonserver"
    backend, model = folder / "backends" / "saxpy", folder / "models" / "saxpy"
    backend.mkdir(parents=True)
    (model / "1").mkdir(parents=True)
    (model / "config.pbtxt").write_text(CONFIG)
    library = str(backend / "libtriton_saxpy.so")
    source = str(HERE / "triton" / "saxpy.c")
    subprocess.run(["cc", "-O3", "-march=native", "-shared", "-fPIC", source, "-o", library], check=True)
    at = port()
    command = [
        "env", f"LD_LIBRARY_PATH={server}/external_libs:{server}/lib", str(server / "bin" / "tritonserver"),
        f"--model-repository={model.parent}", f"--backend-directory={backend.parent}", f"--http-port={at}",
        "--http-address=127.0.0.1", "--allow-grpc=false", "--allow-metrics=false",
    ]
    return command, at


def mlserver(folder: pathlib.Path) -> tuple[list[str], int] | None:
    if importlib.util.find_spec("mlserver") is None:
        return None
    at = port()
    # (Its worker processes do not start with the uvloop of today.)
    settings = {"host": "127.0.0.1", "http_port": at, "grpc_port": port(), "metrics_port": port(), "parallel_workers": 0}
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps({"name": "saxpy", "implementation": "saxpy.Saxpy"}))
    (folder / "saxpy.py").write_text(RUNTIME)
    return [str(pathlib.Path(sys.executable).parent / "mlserver"), "start", str(folder)], at


def ready(at: int, process: subprocess.Popen, log: pathlib.Path) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(f"http://127.0.0.1:{at}/v2/models/saxpy/ready", timeout=1) as answer:
                if answer.status == 200:
                    return
        time.sleep(0.1)
    sys.exit(f"it does not get ready; it said:\n{log.read_text()}")


def main() -> None:
    with tempfile.TemporaryDirectory() as root, contextlib.ExitStack() as servers:
        peers = []
        for name, prepare in ("triton", triton), ("mlserver", mlserver):
            folder = pathlib.Path(root) / name
            folder.mkdir()
            prepared = prepare(folder)
            if prepared is None:
                print(f"{name} is not installed, and left out", file=sys.stderr)
                continue
            command, at = prepared
            log = folder / "log"
            process = subprocess.Popen(command, stdout=log.open("w"), stderr=subprocess.STDOUT, cwd=folder)
            servers.callback(process.wait)
            servers.callback(process.terminate)
            ready(at, process, log)
            peers += ["--peer", f"{name}=http://127.0.0.1:{at}"]
        bench = ["cargo", "bench", "-p", "rustkernel-benches", "--bench", "serve", "--", *peers, *sys.argv[1:]]
        code = subprocess.run(bench, cwd=HERE).returncode
    sys.exit(code)


if __name__ == "__main__":
    main()
