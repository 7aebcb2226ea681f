#!/usr/bin/env python3
"""Public clients of the Open Inference Protocol, unmodified, against `rustkernel serve`.

    tests/clients_agree.py target/release/rustkernel

tritonclient: health, metadata, configuration, statistics, the repository, inference in JSON and in bytes, packed and not, errors, eight calls
at once. Also the calls that perf_analyzer makes before and while it measures, in their order.
"""

import json
import re
import subprocess
import sys
import tempfile
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tritonclient.http as http
from tritonclient.utils import InferenceServerException

N = 1024


def serve(program: str, folder: str) -> tuple[subprocess.Popen, str]:
    command = [program, "serve", "--listen", "127.0.0.1:0", "--endpoint", f"unix:{folder}/clients.sock", "--diagnostics"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    address = re.search(r"http://(\S+)", server.stderr.readline()).group(1)
    assert "serving" in server.stderr.readline()
    return server, address


def infer(client: http.InferenceServerClient, a: float, binary_in: bool, binary_out: bool, packing: str | None = None) -> None:
    random = np.random.default_rng()
    x, y = (random.standard_normal(N, dtype=np.float32) for _ in "xy")
    inputs = [http.InferInput(name, [N], "FP32") for name in "xy"]
    for tensor, data in zip(inputs, (x, y)):
        tensor.set_data_from_numpy(data, binary_data=binary_in)
    outputs = [http.InferRequestedOutput("output", binary_data=binary_out)]
    answer = client.infer(
        "saxpy", inputs, outputs=outputs, request_id="7", parameters={"a": a},
        request_compression_algorithm=packing, response_compression_algorithm=packing,
    )
    expected = np.float32(a) * x + y
    assert np.allclose(answer.as_numpy("output"), expected, rtol=1e-6, atol=1e-6)
    assert answer.get_response()["id"] == "7"


def refused(call, part: str) -> None:
    try:
        call()
    except InferenceServerException as error:
        assert part in str(error), error
    else:
        raise AssertionError(f"it was not refused: {part}")


def tritonclient(address: str) -> None:
    client = http.InferenceServerClient(address, concurrency=8)
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("saxpy")
    assert client.get_server_metadata()["extensions"].count("binary_tensor_data") == 1
    assert [i["name"] for i in client.get_model_metadata("saxpy", "1")["inputs"]] == ["x", "y"]
    assert client.get_model_config("saxpy")["input"][0]["data_type"] == "TYPE_FP32"
    assert {"name": "saxpy", "version": "1", "state": "READY", "reason": ""} in client.get_model_repository_index()
    client.load_model("saxpy")
    for binary_in in (True, False):
        for binary_out in (True, False):
            for packing in (None, "gzip", "deflate"):
                infer(client, 2.5, binary_in, binary_out, packing)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: infer(http.InferenceServerClient(address), 0.5, True, True), range(64)))
    statistics = client.get_inference_statistics("saxpy")["model_stats"][0]
    assert statistics["inference_count"] == 76, statistics
    refused(lambda: client.get_model_metadata("nope"), "'nope' is not found")
    wrong = http.InferInput("x", [3], "FP32").set_data_from_numpy(np.zeros(3, np.float32))
    refused(lambda: client.infer("saxpy", [wrong]), "is missing")
    client.unload_model("saxpy")
    assert not client.is_model_ready("saxpy")
    refused(lambda: infer(client, 1.0, True, True), "is unloaded")
    client.load_model("saxpy")
    assert client.is_model_ready("saxpy")
    infer(client, 2.5, True, True)


def perf_analyzer(address: str) -> None:
    def get(path: str) -> dict:
        with urllib.request.urlopen(f"http://{address}{path}") as answer:
            return json.load(answer)

    assert get("/v2")["name"]
    assert get("/v2/models/identity")["platform"]
    assert get("/v2/models/identity/config")["max_batch_size"] == 0
    for _ in range(2):
        versions = [entry["version"] for entry in get("/v2/models/identity/stats")["model_stats"]]
        assert versions == ["1"], versions


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server, address = serve(sys.argv[1], folder)
        try:
            tritonclient(address)
            perf_analyzer(address)
        finally:
            server.terminate()
        assert server.wait(30) == 0
    print("tritonclient, and what perf_analyzer asks: all answered as expected")


main()
