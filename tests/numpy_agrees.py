#!/usr/bin/env python3
"""Matrix products by `rustkernel call gemm` against NumPy's, in float64.

    tests/numpy_agrees.py target/release/rustkernel [FURTHER ARGUMENTS OF call …]

Relative to each element where nothing cancels (uniform numbers from 0 to 1), and relative to the largest
element where much does (normal numbers).
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

SHAPES = [(1, 1, 1), (17, 31, 13), (1024, 1024, 1024)]
TOLERANCE = 1e-5


def gemm(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder, f"{name}.npy") for name in "abc"}
        np.save(files["a"], a)
        np.save(files["b"], b)
        program, *further = sys.argv[1:]
        inputs = ["--input", f"a={files['a']}", "--input", f"b={files['b']}"]
        output = ["--output", f"c={files['c']}"]
        subprocess.run([program, "-q", "call", "gemm", *inputs, *output, *further], check=True)
        return np.load(files["c"])


def error(c: np.ndarray, exact: np.ndarray, scale: np.ndarray) -> float:
    assert c.shape == exact.shape and c.dtype == np.float32, (c.shape, c.dtype)
    return float(np.max(np.abs(c - exact) / scale))


def main() -> None:
    random = np.random.default_rng(1)
    worst = 0.0
    for m, n, k in SHAPES:
        for kind in (random.random, random.standard_normal):
            a, b = kind((m, k), dtype=np.float32), kind((k, n), dtype=np.float32)
            exact = a.astype(np.float64) @ b.astype(np.float64)
            scale = exact if kind == random.random else np.max(np.abs(exact))
            found = error(gemm(a, b), exact, scale)
            print(f"gemm {m} x {n} x {k}, {kind.__name__}: {found:.1e}")
            worst = max(worst, found)
    if worst > TOLERANCE:
        sys.exit(f"the worst relative error is {worst:.1e}; {TOLERANCE:.0e} is allowed")


main()
