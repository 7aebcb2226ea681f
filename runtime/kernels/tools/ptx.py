#!/usr/bin/env python3
"""Makes every runtime/kernels/src/*/kernel.ptx from the kernel.cu beside it. Needs no GPU.

    runtime/kernels/tools/ptx.py            writes the files, then assembles them
    runtime/kernels/tools/ptx.py --check    exits with 1 if a committed file is not, byte for byte,
                                            what its source gives; then assembles them

The compiler (NVRTC) and the assembler (ptxas) are wheels from PyPI, pinned by their digests and
kept under target/ptx. Needs Python 3.9, pip and, the first time, a network; x86-64 Linux.
"""
import argparse
import ctypes
import hashlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import zipfile

SOURCES = pathlib.Path(__file__).resolve().parent.parent / "src"
CACHE = SOURCES.parents[2] / "target" / "ptx"
HEADERS = ("common.cuh", "tile.cuh")

# The oldest virtual architecture that NVRTC 11.8 knows and that every later device can run.
ARCHITECTURE = "compute_50"
# The first PTX with shfl.sync: a driver of 2017 (384.81) or later loads it.
VERSION = "6.0"
# What ptxas must accept: Volta, Turing, Ampere (two), Ada, Hopper.
DEVICES = ("sm_70", "sm_75", "sm_80", "sm_86", "sm_89", "sm_90")

# (package, version, file in the wheel, digest of the wheel)
NVRTC = (
    "nvidia-cuda-nvrtc-cu11", "11.8.89", "nvidia/cuda_nvrtc/lib/libnvrtc.so.11.2",
    "a8d02f3cba345be56b1ffc3e74d8f61f02bb758dd31b0f20e12277a5a244f756",
)
PTXAS = (
    "nvidia-cuda-nvcc-cu12", "12.9.86", "nvidia/cuda_nvcc/bin/ptxas",
    "5d6a0d32fdc7ea39917c20065614ae93add6f577d840233237ff08e9a38f58f0",
)


def fetched(package: str, version: str, file: str, digest: str) -> pathlib.Path:
    """The path of a wheel's file, downloaded and unpacked unless that was done before."""
    folder = CACHE / f"{package}-{version}"
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
            subprocess.run(
                [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                 "--only-binary", ":all:", "--platform", "manylinux2014_x86_64",
                 "--dest", temporary, f"{package}=={version}"],
                check=True,
            )
            (wheel,) = pathlib.Path(temporary).glob("*.whl")
            if hashlib.sha256(wheel.read_bytes()).hexdigest() != digest:
                sys.exit(f"{wheel.name} is not the wheel that this script was written for")
            unpacked = pathlib.Path(temporary) / "unpacked"
            zipfile.ZipFile(wheel).extractall(unpacked)
            (unpacked / file).chmod(0o755)
            unpacked.rename(folder)
    return folder / file


class Nvrtc:
    """NVIDIA's run-time compiler, which works without a device or a driver."""

    def __init__(self, library: pathlib.Path):
        self.library = ctypes.CDLL(str(library))
        self.headers = [(SOURCES / name).read_bytes() for name in HEADERS]

    def call(self, name: str, *arguments) -> None:
        status = getattr(self.library, name)(*arguments)
        # 6 is a compilation error, whose text `compile` prints.
        if status not in (0, 6):
            sys.exit(f"{name}: NVRTC error {status}")

    def text(self, kind: str, program: ctypes.c_void_p) -> str:
        size = ctypes.c_size_t()
        self.call(f"nvrtcGet{kind}Size", program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self.call(f"nvrtcGet{kind}", program, buffer)
        return buffer.value.decode("ascii")

    def compile(self, source: pathlib.Path) -> str:
        """The PTX of a file; ends the script with the compiler's messages if there are any."""
        count = len(HEADERS)
        strings = ctypes.c_char_p * count
        name = f"{source.parent.name}/{source.name}"
        program = ctypes.c_void_p()
        self.call(
            "nvrtcCreateProgram", ctypes.byref(program), source.read_bytes(), name.encode(), count,
            strings(*self.headers), strings(*(header.encode() for header in HEADERS)),
        )
        options = (f"--gpu-architecture={ARCHITECTURE}", "--std=c++17")
        encoded = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        self.call("nvrtcCompileProgram", program, len(options), encoded)
        log = self.text("ProgramLog", program)
        if log.strip():
            sys.exit(log)
        ptx = self.text("PTX", program)
        self.call("nvrtcDestroyProgram", ctypes.byref(program))
        return ptx


def committed_form(ptx: str) -> str:
    """PTX as it is committed: our header instead of the compiler's, and the older version."""
    body = ptx[ptx.index(".version"):]
    body = re.sub(r"\A\.version .*", f".version {VERSION}", body)
    lines = [line.rstrip() for line in body.strip().splitlines()]
    header = f"// Made by tools/ptx.py from kernel.cu ({NVRTC[0]} {NVRTC[1]}).\n"
    return header + "\n".join(lines) + "\n"


def entries(ptx: str) -> list[str]:
    return re.findall(r"\.entry (\w+)", ptx)


def assemble(ptxas: pathlib.Path, path: pathlib.Path) -> bool:
    """Assembles a file for every device and prints what each entry needs; says if all went well."""
    needs = {}
    for device in DEVICES:
        run = subprocess.run(
            [ptxas, "--verbose", "--gpu-name", device, "--output-file", "/dev/null", path],
            capture_output=True, text=True,
        )
        if run.returncode != 0:
            print(f"{path} for {device}:\n{run.stderr}", file=sys.stderr)
            return False
        for part in run.stderr.split("Compiling entry function '")[1:]:
            entry = part[: part.index("'")]
            used = {key: re.search(pattern, part) for key, pattern in (
                ("registers", r"Used (\d+) registers"), ("shared", r"(\d+) bytes smem"),
                ("stack", r"(\d+) bytes stack"), ("spilled", r"(\d+) bytes spill stores"))}
            for key, found in used.items():
                amounts = needs.setdefault(entry, {}).setdefault(key, [])
                amounts.append(int(found[1]) if found else 0)
    for entry in entries(path.read_text()):
        worst = {key: max(values) for key, values in needs[entry].items()}
        print(f"{entry:24}{worst['registers']:>10}{worst['shared']:>10}"
              f"{worst['stack']:>8}{worst['spilled']:>10}")
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check

    nvrtc = Nvrtc(fetched(*NVRTC))
    stale = []
    names = []
    for source in sorted(SOURCES.glob("*/kernel.cu")):
        ptx = committed_form(nvrtc.compile(source))
        names += entries(ptx)
        path = source.with_suffix(".ptx")
        if not check:
            path.write_text(ptx, encoding="ascii")
        elif not path.exists() or path.read_bytes() != ptx.encode("ascii"):
            stale.append(os.path.relpath(path))
    if len(set(names)) != len(names):
        sys.exit("two kernels share an entry's name")
    if stale:
        sys.exit("not what the source gives; run this script without --check:\n" + "\n".join(stale))

    ptxas = fetched(*PTXAS)
    print(f"worst of {', '.join(DEVICES)}; bytes")
    print(f"{'entry':24}{'registers':>10}{'shared':>10}{'stack':>8}{'spilled':>10}")
    assembled = [assemble(ptxas, path) for path in sorted(SOURCES.glob("*/kernel.ptx"))]
    sys.exit(0 if all(assembled) else 1)


if __name__ == "__main__":
    main()
