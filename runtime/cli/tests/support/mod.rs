//! Running the real program on files made by hand.

#![allow(dead_code, reason = "each test file uses a part of this")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

pub(crate) mod http;
pub(crate) mod served;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A driver's file that is not there, so that a GPU in the machine changes nothing.
pub(crate) const NO_DRIVER: &str = "no-such-driver.so";

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The program, as it runs without colours, without a GPU and with backtraces wanted.
pub(crate) fn rustkernel() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rustkernel"));
    command
        .env("CUDA_DRIVER_LIBRARY", NO_DRIVER)
        .env("RUST_BACKTRACE", "1")
        .env_remove("NO_COLOR")
        .env_remove("CLICOLOR_FORCE")
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end.
#[track_caller]
pub(crate) fn end(command: &mut Command) -> Ended {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).expect("texts are UTF-8");
    let (stdout, stderr) = (text(stdout), text(stderr));
    let code = status.code().unwrap_or_else(|| panic!("{status}: {stderr}"));
    for never in ["panicked", "stack backtrace", "internal error"] {
        assert!(!stderr.contains(never), "{stderr}");
    }
    Ended { code, stdout, stderr }
}

/// A folder of files for one test, which is where the program runs.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// One with `x.npy` and `y.npy`, four numbers each.
    pub(crate) fn with_vectors() -> Self {
        let folder = Self::new();
        folder.write("x.npy", &f32s(&[0.0, 1.0, 2.0, 3.0]));
        folder.write("y.npy", &f32s(&[10.0, 20.0, 30.0, 40.0]));
        folder
    }

    pub(crate) fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.0.path().join(name.as_ref())
    }

    pub(crate) fn write(&self, name: impl AsRef<OsStr>, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// What is in the folder, by name.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// The program with these arguments, in this folder.
    pub(crate) fn rustkernel(&self, arguments: &[&str]) -> Command {
        let mut command = rustkernel();
        command.current_dir(self.0.path()).args(arguments);
        command
    }

    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        end(&mut self.rustkernel(arguments))
    }

    /// `rustkernel call saxpy` with `y.npy`, `a=2` and these arguments.
    #[track_caller]
    pub(crate) fn saxpy(&self, arguments: &[&str]) -> Ended {
        let fixed = ["call", "saxpy", "-i", "y=y.npy", "-p", "a=2"];
        self.run(&[&fixed, arguments].concat())
    }

    /// The same with a shell, for what only a shell can say.
    #[track_caller]
    pub(crate) fn shell(&self, script: &str) -> Ended {
        let mut command = Command::new("bash");
        command
            .args(["-c", script])
            .current_dir(self.0.path())
            .env("RUSTKERNEL", env!("CARGO_BIN_EXE_rustkernel"))
            .env("CUDA_DRIVER_LIBRARY", NO_DRIVER)
            .env("RUST_BACKTRACE", "1")
            .env_remove("NO_COLOR")
            .stdin(Stdio::null());
        end(&mut command)
    }
}

/// An `.npy` file of version 1.0.
pub(crate) fn npy(descr: &str, fortran_order: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let order = if fortran_order { "True" } else { "False" };
    let text = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
    let length = (text.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00".as_slice(), &length, text.as_bytes(), data].concat()
}

/// An `.npy` file with a vector.
pub(crate) fn f32s(values: &[f32]) -> Vec<u8> {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    npy("<f4", false, &format!("({},)", values.len()), &data)
}

/// The bytes of data in a file that the program wrote: those after its header of 128 bytes.
pub(crate) fn data(file: &[u8]) -> &[u8] {
    assert_eq!(file[..10], *b"\x93NUMPY\x01\x00\x76\x00");
    &file[128..]
}

/// A file of the repository.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data").join(name)
}
