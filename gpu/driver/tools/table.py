#!/usr/bin/env python3
"""Makes gpu/driver/src/{table,codes}.rs from the source of cust_raw.

    gpu/driver/tools/table.py           writes the two files
    gpu/driver/tools/table.py --check   exits with 1 if they are not what it would write
"""
import glob
import os
import pathlib
import re
import subprocess
import sys

BY_HAND = {"cuInit", "cuGetErrorString", "cuGetErrorName"}
HERE = pathlib.Path(__file__).resolve().parent.parent / "src"


def cust_raw() -> str:
    home = os.environ.get("CARGO_HOME", os.path.expanduser("~/.cargo"))
    (path,) = glob.glob(f"{home}/registry/src/*/cust_raw-0.11.3/src/cuda.rs")[:1] or [None]
    if path is None:
        sys.exit("cust_raw 0.11.3 is not in cargo's registry: run `cargo fetch` first")
    return pathlib.Path(path).read_text()


def table(source: str) -> str:
    lines = [
        "//! Every entry point that `cust_raw` 0.11.3 declares, but the three written by hand.",
        "//! Made by `tools/table.py`.",
        "",
        "use std::ffi::{c_char, c_int, c_uchar, c_uint, c_ulonglong, c_ushort, c_void};",
        "",
        "use cust_raw::*;",
        "",
        "forward! {",
    ]
    for name, arguments in re.findall(r"pub fn (cu\w+)\((.*?)\)\s*->\s*CUresult;", source, re.S):
        if name not in BY_HAND:
            arguments = re.sub(r"\s+", " ", arguments).strip().rstrip(",").replace("::std::os::raw::", "")
            lines.append(f"    {name}({arguments});")
    return "\n".join(lines + ["}", ""])


def codes(source: str) -> str:
    enum = source[source.index("pub enum cudaError_enum"):]
    known = re.findall(r"(CUDA_\w+) = (\d+)", enum[: enum.index("}")])
    lines = [
        "//! Every result code that `cust_raw` 0.11.3 has a variant for. Made by `tools/table.py`.",
        "",
        "use std::ffi::CStr;",
        "",
        "use cust_raw::CUresult;",
        "",
        "/// The variant for `code`, where there is one.",
        "pub(crate) fn known(code: u32) -> Option<CUresult> {",
        "    Some(match code {",
    ]
    lines += [f"        {code} => CUresult::{name}," for name, code in known]
    lines += ["        _ => return None,", "    })", "}", ""]
    lines += ["/// The driver's own name for a code.", "pub(crate) fn name(result: CUresult) -> &'static CStr {", "    match result {"]
    lines += [f'        CUresult::{name} => c"{name}",' for name, _ in known]
    return "\n".join(lines + ["    }", "}", ""])


def formatted(text: str) -> str:
    command = ["rustfmt", "--edition", "2024", "--emit", "stdout", "--quiet"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


def main() -> None:
    source = cust_raw()
    for name, make in (("table", table), ("codes", codes)):
        path, text = HERE / f"{name}.rs", formatted(make(source))
        if "--check" not in sys.argv:
            path.write_text(text)
        elif path.read_text() != text:
            sys.exit(f"{path} is not what {sys.argv[0]} makes of cust_raw")


if __name__ == "__main__":
    main()
