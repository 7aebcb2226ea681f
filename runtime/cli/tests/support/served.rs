//! A service in a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::thread;

use super::{Folder, rustkernel};

/// A service of the kernels and of those for diagnostics, which ends with this.
pub(crate) struct Served {
    pub(crate) process: Child,
    pub(crate) address: String,
    _folder: Folder,
}

impl Served {
    /// Starts one, at a free port, and waits until it serves.
    pub(crate) fn new() -> Self {
        let folder = Folder::new();
        let mut command = rustkernel();
        command.env("XDG_RUNTIME_DIR", folder.path("")).env_remove("RUSTKERNEL_ENDPOINT");
        command.args(["serve", "--diagnostics", "--listen", "127.0.0.1:0"]);
        // (Lines of the log could come in the middle of what is waited for.)
        command.args(["--set", "observability.log.level=off"]);
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("serving") {
            assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "it ended: {said}");
        }
        thread::spawn(move || stderr.lines().for_each(drop));
        let at = said.find("127.0.0.1:").unwrap_or_else(|| panic!("it says where: {said}"));
        let address = said[at..].lines().next().unwrap().to_owned();
        Self { process, address, _folder: folder }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // (It may have ended, as it was told to.)
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
