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

/// What a server says, which is where it listens, and more.
type Said = Box<dyn std::io::Read + Send>;

fn errors(child: &mut Child) -> Said {
    Box::new(child.stderr.take().unwrap())
}

pub(crate) struct Server {
    name: String,
    address: SocketAddr,
    process: Option<Child>,
    first_answer: Option<Duration>,
    idle_mib: Option<f64>,
    /// Lines that each request has in its head.
    lines: String,
    _folder: Option<TempDir>,
}

impl Server {
    /// The bare handler.
    pub(crate) fn bare() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_serve_bare"));
        command.stdout(Stdio::piped());
        let says = |child: &mut Child| -> Said { Box::new(child.stdout.take().unwrap()) };
        Self::start("bare handler", command, String::new(), None, says)
    }

    /// `rustkernel serve`, from where cargo puts it.
    pub(crate) fn service() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(program());
        let endpoint = format!("unix:{}", folder.path().join("bench.sock").display());
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--endpoint", &endpoint])
            .stderr(Stdio::piped());
        Self::start("service", command, String::new(), Some(folder), errors)
    }

    /// The same with keys, an audit log in that folder, metrics, and traces of one request in a hundred sent to that collector.
    pub(crate) fn everything(name: &str, folder: TempDir, collector: SocketAddr) -> Self {
        let at = |file: &str| folder.path().join(file).display().to_string();
        let file = at("keys.json");
        let mut key = Command::new(program());
        key.args(["key", "create", "--role", "executor", "--file", &file]);
        let key = String::from_utf8(key.output().unwrap().stdout).unwrap();
        let endpoint = format!("unix:{}", at("bench.sock"));
        let mut command = Command::new(program());
        command.args(["serve", "--listen", "127.0.0.1:0", "--endpoint", &endpoint]);
        for value in [
            format!("security.keys_file={file}"),
            "security.rbac_enabled=true".to_owned(),
            "security.audit_logging=true".to_owned(),
            format!("security.audit.path={}", at("audit.jsonl")),
            "observability.metrics_enabled=true".to_owned(),
            "observability.tracing_enabled=true".to_owned(),
            "observability.trace_sampling_ratio=0.01".to_owned(),
            format!("observability.otlp_endpoint=http://{collector}"),
        ] {
            command.args(["--set", &value]);
        }
        command.stderr(Stdio::piped());
        let lines = format!("authorization: Bearer {}\r\n", key.trim());
        Self::start(name, command, lines, Some(folder), errors)
    }

    /// One that runs already.
    ///
    /// # Panics
    /// If what is said of it is not NAME=http://ADDRESS.
    pub(crate) fn peer(text: &str) -> Self {
        let (name, url) = text.split_once('=').expect("NAME=http://ADDRESS");
        let address = url.trim_start_matches("http://").trim_end_matches('/').parse();
        let address = address.unwrap_or_else(|error| panic!("{url}: {error}"));
        let (name, lines) = (name.to_owned(), String::new());
        Self {
            name,
            address,
            process: None,
            first_answer: None,
            idle_mib: None,
            lines,
            _folder: None,
        }
    }

    fn start(
        name: &str,
        mut command: Command,
        lines: String,
        folder: Option<TempDir>,
        says: fn(&mut Child) -> Said,
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
            idle_mib: None,
            lines,
            _folder: folder,
        };
        while !server.answers(Encoding::Json) {
            std::thread::sleep(Duration::from_millis(1));
        }
        server.first_answer = Some(since.elapsed());
        server.idle_mib = server.memory_mib();
        // (What else it says is read to the end, so that it is never kept waiting.)
        std::thread::spawn(move || said.lines().for_each(drop));
        let time = Duration::from_millis(300);
        let warm = Load { encoding: Encoding::Json, elements: load::FEW, connections: 4, time };
        server.load(warm);
        server
    }

    /// Whether it answers such requests.
    pub(crate) fn answers(&self, encoding: Encoding) -> bool {
        load::answers(self.address, &self.lines, encoding)
    }

    /// Loads it.
    pub(crate) fn load(&self, load: Load) -> load::Outcome {
        load::run(self.address, &self.lines, load)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
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

    /// Its share of memory before it had any load.
    pub(crate) fn idle_mib(&self) -> Option<f64> {
        self.idle_mib
    }

    /// Its share of memory, as if nobody else ran the same program.
    pub(crate) fn memory_mib(&self) -> Option<f64> {
        let id = self.process.as_ref()?.id();
        let program = fs::read_link(format!("/proc/{id}/exe")).ok()?.display().to_string();
        let (mut kib, mut own) = (0.0, false);
        for line in fs::read_to_string(format!("/proc/{id}/smaps")).ok()?.lines() {
            match line.split_once(':') {
                Some(("Rss", size)) if own => kib += in_kib(size)?,
                Some(("Pss", size)) if !own => kib += in_kib(size)?,
                // (A mapping begins with where it lies.)
                _ if line.contains('-') => own = line.ends_with(&program),
                _ => {}
            }
        }
        Some(kib / 1024.0)
    }
}

fn in_kib(size: &str) -> Option<f64> {
    size.split_whitespace().next()?.parse().ok()
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
