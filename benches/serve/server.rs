//! The servers: started here, or elsewhere.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::load::{self, Encoding, Load};

pub(crate) struct Server {
    name: String,
    address: SocketAddr,
    process: Option<Child>,
    first_answer: Option<Duration>,
    _folder: Option<TempDir>,
}

impl Server {
    /// The bare handler.
    pub(crate) fn bare() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_serve_bare"));
        command.stdout(Stdio::piped());
        Self::start("bare handler", command, None, |child| Box::new(child.stdout.take().unwrap()))
    }

    /// `rustkernel serve`, from where cargo puts it.
    pub(crate) fn service() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(program());
        let endpoint = format!("unix:{}", folder.path().join("bench.sock").display());
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--endpoint", &endpoint])
            .stderr(Stdio::piped());
        let name = "service";
        Self::start(name, command, Some(folder), |child| Box::new(child.stderr.take().unwrap()))
    }

    /// One that runs already.
    ///
    /// # Panics
    /// If what is said of it is not NAME=http://ADDRESS.
    pub(crate) fn peer(text: &str) -> Self {
        let (name, url) = text.split_once('=').expect("NAME=http://ADDRESS");
        let address = url.trim_start_matches("http://").trim_end_matches('/').parse();
        let address = address.unwrap_or_else(|error| panic!("{url}: {error}"));
        Self { name: name.into(), address, process: None, first_answer: None, _folder: None }
    }

    fn start(
        name: &str,
        mut command: Command,
        folder: Option<TempDir>,
        says: impl FnOnce(&mut Child) -> Box<dyn std::io::Read + Send>,
    ) -> Self {
        let since = Instant::now();
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut said = BufReader::new(says(&mut process));
        let address = loop {
            let mut line = String::new();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "{name} has ended");
            if let Some((_, address)) = line.trim().split_once("http://") {
                break address.parse().unwrap();
            }
        };
        let mut server = Self {
            name: name.into(),
            address,
            process: Some(process),
            first_answer: None,
            _folder: folder,
        };
        while !load::answers(address) {
            std::thread::sleep(Duration::from_millis(1));
        }
        server.first_answer = Some(since.elapsed());
        // (What else it says is read to the end, so that it is never kept waiting.)
        std::thread::spawn(move || said.lines().for_each(drop));
        let warm =
            Load { encoding: Encoding::Json, connections: 4, time: Duration::from_millis(300) };
        load::run(address, warm);
        server
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From its start to its first answer.
    pub(crate) fn first_answer(&self) -> Option<Duration> {
        self.first_answer
    }

    /// Seconds that it has computed so far.
    pub(crate) fn cpu(&self) -> Option<f64> {
        let id = self.process.as_ref()?.id();
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let (_, rest) = stat.rsplit_once(')')?;
        let ticks = rest.split_whitespace().skip(11).take(2);
        let ticks: f64 = ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
        // (The unit is a hundredth of a second wherever Linux runs.)
        Some(ticks / 100.0)
    }

    /// Its share of memory.
    pub(crate) fn memory_mib(&self) -> Option<f64> {
        let id = self.process.as_ref()?.id();
        let maps = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
        let line = maps.lines().find(|line| line.starts_with("Pss:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill().ok();
            process.wait().ok();
        }
    }
}

/// The program that is measured: beside this one.
fn program() -> PathBuf {
    let own = env::current_exe().unwrap();
    let folder = own.parent().and_then(std::path::Path::parent).unwrap();
    let program = folder.join("rustkernel");
    assert!(
        program.exists(),
        "{} is not there; run `cargo build --release` first",
        program.display()
    );
    program
}
