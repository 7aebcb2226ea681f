#!/usr/bin/env python3
"""Compiles the .cu files beside this script to .ptx with NVRTC, without a GPU or a CUDA toolkit.

Run it after changing a .cu file, and commit both:

    pip download --no-deps nvidia-cuda-nvrtc-cu11==11.8.89
    unzip nvidia_cuda_nvrtc_cu11-11.8.89-*.whl -d nvrtc
    ./nvrtc.py nvrtc/nvidia/cuda_nvrtc/lib/libnvrtc.so.11.2 [FILE.cu ...]

The PTX is for compute_50, and its `.version` is lowered to the least that its instructions need: so
it loads on every driver from CUDA 9 on.
"""

import ctypes
import pathlib
import re
import sys

OPTIONS = ["--gpu-architecture=compute_50", "--fmad=true", "-default-device"]


def compile_to_ptx(nvrtc, source: pathlib.Path) -> str:
    program = ctypes.c_void_p()
    created = nvrtc.nvrtcCreateProgram(
        ctypes.byref(program), source.read_bytes(), source.name.encode(), 0, None, None
    )
    assert created == 0, created
    options = (ctypes.c_char_p * len(OPTIONS))(*[option.encode() for option in OPTIONS])
    failed = nvrtc.nvrtcCompileProgram(program, len(OPTIONS), options)
    log = fetch(nvrtc, "ProgramLog", program)
    if log.strip():
        print(f"{source.name}:\n{log}", file=sys.stderr)
    if failed:
        sys.exit(f"{source.name} does not compile")
    ptx = fetch(nvrtc, "PTX", program)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    version = "6.2" if "activemask" in ptx else "6.0"
    return re.sub(r"^\.version .*$", f".version {version}", ptx, flags=re.MULTILINE)


def fetch(nvrtc, what: str, program) -> str:
    size = ctypes.c_size_t()
    getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    getattr(nvrtc, f"nvrtcGet{what}")(program, text)
    return text.value.decode()


def main(library: str, *files: str) -> None:
    nvrtc = ctypes.CDLL(library)
    here = pathlib.Path(__file__).parent
    for source in map(pathlib.Path, files) if files else sorted(here.glob("*.cu")):
        source.with_suffix(".ptx").write_text(compile_to_ptx(nvrtc, source))


if __name__ == "__main__":
    main(*sys.argv[1:])
