//! A process that serves, and the commands that ask it: with real processes.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails is to say where")]
#![allow(clippy::disallowed_methods, reason = "real processes, waited for by the real clock")]

mod support;

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::{Pid, Signal, kill_process};
use support::{Ended, Folder, end, rustkernel};

/// A folder in which services have their sockets.
struct Place(Folder);

/// A service in a process of its own.
struct Served {
    process: Child,
    stderr: BufReader<ChildStderr>,
}

impl Place {
    fn new() -> Self {
        Self(Folder::new())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = rustkernel();
        command.env("XDG_RUNTIME_DIR", self.0.path("")).args(arguments);
        command.env("XDG_CONFIG_HOME", self.0.path("")).env("XDG_STATE_HOME", self.0.path("state"));
        command.env_remove("RUSTKERNEL_ENDPOINT").env("RUSTKERNEL_HTTP__LISTEN", "off");
        command
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Ended {
        end(&mut self.command(arguments))
    }

    /// A service, once it serves.
    fn serve(&self, arguments: &[&str]) -> Served {
        Served::start(self.command(&["serve"]).args(arguments))
    }

    fn endpoint(&self, name: &str) -> String {
        format!("unix:{}", self.0.path("rustkernel").join(name).with_extension("sock").display())
    }
}

impl Served {
    fn start(command: &mut Command) -> Self {
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        // (A part of the log's line may come before it.)
        while !line.contains("serving; control at") {
            line.clear();
            assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "it has ended");
        }
        Self { process, stderr }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Its exit code, and what else it said.
    fn end(mut self) -> (i32, String) {
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        (self.process.wait().unwrap().code().unwrap(), said)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // (A test has failed, if it still runs.)
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_service_is_asked_and_drained_by_command() {
    let place = Place::new();
    let served = place.serve(&["--diagnostics"]);
    let status = place.run(&["runtime", "status"]);
    assert_eq!(status.code, 0, "{}", status.stderr);
    assert!(
        status.stdout.contains("running") && status.stdout.contains("host normal"),
        "{}",
        status.stdout
    );

    let status = json(&place.run(&["runtime", "status", "--output-format", "json"]).stdout);
    assert_eq!((&status["name"], &status["state"]), (&"rustkernel".into(), &"running".into()));
    assert_eq!((&status["pid"], &status["kernels"]), (&served.process.id().into(), &15.into()));

    let stats = place.run(&["kernel", "stats", "delay"]);
    let row = stats.stdout.lines().nth(1).unwrap();
    assert!(row.starts_with("delay") && row.contains("serving") && row.contains("8/8"), "{row}");
    let stats = json(&place.run(&["kernel", "stats", "--output-format", "json"]).stdout);
    assert_eq!(stats["kernels"].as_array().unwrap().len(), 15);
    let unknown = place.run(&["kernel", "stats", "delays"]);
    assert_eq!(unknown.code, 64);
    assert!(unknown.stderr.contains("there is no kernel `delays`"), "{}", unknown.stderr);

    let reload = place.run(&["runtime", "reload"]);
    assert_eq!(reload.code, 78);
    assert!(reload.stderr.contains("no configuration file to read again"), "{}", reload.stderr);

    let drained = place.run(&["runtime", "drain"]);
    assert_eq!((drained.code, drained.stdout.as_str()), (0, "stopped\n"), "{}", drained.stderr);
    let (code, said) = served.end();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("draining") && said.contains("stopped; 0 requests completed"), "{said}");
}

#[test]
fn the_memory_of_a_service_is_shown_by_device_and_by_size() {
    let place = Place::new();
    let served = place.serve(&[]);
    let all = place.run(&["device", "stats"]);
    let rows: Vec<&str> = all.stdout.lines().skip(1).collect();
    assert_eq!(rows.len(), 2, "{}", all.stdout);
    assert!(rows[0].starts_with("host") && rows[0].contains("normal"), "{}", all.stdout);
    let host = place.run(&["device", "stats", "host"]);
    assert!(host.stdout.starts_with(&all.stdout[..40]) && host.stdout.contains("BLOCKS OF"));
    let host = json(&place.run(&["device", "stats", "host", "--output-format", "json"]).stdout);
    assert!(host["device"]["limit"].as_u64().unwrap() > 0);
    assert!(host["device"]["free"].is_array() && host["staging"]["magazines"].is_array());
    let map = json(&place.run(&["device", "map", "host", "--output-format", "json"]).stdout);
    assert_eq!(map["staging"]["free"], host["staging"]["cached"]);
    assert_eq!(map["staging"]["ranges"][0]["bytes"], 64 << 20, "pinned from the start: {map}");
    let missing = place.run(&["device", "stats", "cuda:7"]);
    assert_eq!(missing.code, 64);
    assert!(missing.stderr.contains("does not use the device cuda:7"), "{}", missing.stderr);
    assert_eq!(place.run(&["runtime", "stop"]).code, 0);
    assert_eq!(served.end().0, 0);
}

#[test]
fn kernels_are_unloaded_loaded_and_restarted_by_command() {
    let place = Place::new();
    let served = place.serve(&["--diagnostics"]);
    let kernel = |verb: &str| place.run(&["kernel", verb, "delay"]);
    let told = |verb: &str| {
        let told = kernel(verb);
        assert_eq!(told.code, 0, "{}", told.stderr);
        told.stdout
    };
    let condition = || {
        let stats = place.run(&["kernel", "stats", "delay", "--output-format", "json"]).stdout;
        json(&stats)["condition"].as_str().unwrap().to_owned()
    };
    assert_eq!(told("unload"), "unloaded\n");
    assert_eq!(condition(), "unloaded");
    assert_eq!(told("load"), "loaded; 8 instances are up\n");
    assert_eq!(condition(), "serving");
    assert_eq!(told("restart"), "told to restart\n");
    assert_eq!(told("lift"), "it is in no quarantine\n");
    let loaded = place.run(&["kernel", "load", "delay", "--output-format", "json"]);
    assert_eq!(json(&loaded.stdout)["running"], 8);
    for verb in ["unload", "load", "restart", "lift"] {
        let unknown = place.run(&["kernel", verb, "delays"]);
        assert_eq!(unknown.code, 64);
        assert!(unknown.stderr.contains("there is no kernel `delays`"), "{}", unknown.stderr);
    }
    assert_eq!(place.run(&["runtime", "stop"]).code, 0);
    assert_eq!(served.end().0, 0);
}

#[test]
fn a_termination_drains_and_ends_well_and_so_do_the_other_ways() {
    let place = Place::new();
    for signal in [Signal::TERM, Signal::INT] {
        let served = place.serve(&[]);
        served.signal(Signal::HUP);
        served.signal(signal);
        let (code, said) = served.end();
        assert_eq!(code, 0, "{said}");
    }
    let served = place.serve(&[]);
    let stopped = place.run(&["runtime", "stop", "--output-format", "json"]);
    assert_eq!((stopped.code, json(&stopped.stdout)["state"].as_str()), (0, Some("stopped")));
    assert_eq!(served.end().0, 0);
    let served = place.serve(&[]);
    let told = place.run(&["runtime", "drain", "--no-wait"]);
    assert_eq!((told.code, told.stdout.as_str()), (0, "told to drain\n"));
    assert_eq!(served.end().0, 0);
}

#[test]
fn several_run_on_one_host_and_one_has_to_be_named() {
    let place = Place::new();
    let (a, b) = (place.serve(&["--name", "a"]), place.serve(&["--name", "b"]));
    let which = place.run(&["runtime", "status"]);
    assert_eq!(which.code, 64);
    assert!(which.stderr.contains("several services run: a, b"), "{}", which.stderr);
    assert!(
        which.stderr.contains(&format!("--endpoint {}", place.endpoint("a"))),
        "{}",
        which.stderr
    );

    let b_status =
        ["runtime", "status", "--output-format", "json", "--endpoint", &place.endpoint("b")];
    assert_eq!(json(&place.run(&b_status).stdout)["name"], "b");
    let mut by_environment = place.command(&["runtime", "status", "--output-format", "json"]);
    by_environment.env("RUSTKERNEL_ENDPOINT", place.endpoint("a"));
    assert_eq!(json(&end(&mut by_environment).stdout)["name"], "a");

    let taken = place.run(&["serve", "--name", "a"]);
    assert_eq!(taken.code, 73);
    assert!(taken.stderr.contains("another process listens at"), "{}", taken.stderr);
    assert_eq!(place.run(&["runtime", "stop", "--endpoint", &place.endpoint("a")]).code, 0);
    assert_eq!(a.end().0, 0);

    // The one that is left need not be named; one that was killed leaves a socket that nobody minds.
    assert!(place.run(&["runtime", "status"]).stdout.contains("running"));
    b.signal(Signal::KILL);
    drop(b);
    assert_eq!(place.run(&["runtime", "status"]).code, 69);
    let again = place.serve(&["--name", "b"]);
    assert!(place.run(&["runtime", "status"]).stdout.contains("running"));
    again.signal(Signal::TERM);
    assert_eq!(again.end().0, 0);
}

#[test]
fn where_nothing_runs_it_is_said_where_was_looked() {
    let place = Place::new();
    let looked = place.0.path("rustkernel").display().to_string();
    for arguments in [
        &["runtime", "status"],
        &["runtime", "drain"],
        &["runtime", "stop"],
        &["runtime", "reload"],
        &["kernel", "stats"],
    ] {
        let nothing = place.run(arguments);
        assert_eq!(nothing.code, 69, "{}", nothing.stderr);
        assert!(nothing.stderr.contains(&looked), "{}", nothing.stderr);
        assert!(nothing.stderr.contains("rustkernel serve"), "{}", nothing.stderr);
    }
    let named = place.run(&["runtime", "status", "--endpoint", &place.endpoint("a")]);
    assert_eq!(named.code, 69);
    assert!(named.stderr.contains(&place.endpoint("a")), "{}", named.stderr);
}

#[test]
fn what_cannot_be_read_is_no_sign_of_an_end() {
    let place = Place::new();
    let path = place.0.path("other.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut asked = String::new();
            stream.read_line(&mut asked).unwrap();
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                stream.read_line(&mut line).unwrap();
            }
            let body = if asked.starts_with("POST") { "{\"state\":\"running\"}" } else { "{}" };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.into_inner().write_all(format!("{head}{body}").as_bytes()).unwrap();
        }
    });
    let endpoint = format!("unix:{}", path.display());
    let stop = place.run(&["runtime", "stop", "--endpoint", &endpoint]);
    assert_eq!((stop.code, &*stop.stdout), (70, ""), "{}", stop.stderr);
    assert!(stop.stderr.contains("has not answered as a service does"), "{}", stop.stderr);
}

#[test]
fn systemd_is_told_when_it_is_ready_reloads_lives_and_stops() {
    let place = Place::new();
    let path = place.0.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let told = |what: &str| {
        let mut buffer = [0; 1024];
        loop {
            let length = socket.recv(&mut buffer).unwrap();
            let text = std::str::from_utf8(&buffer[..length]).unwrap();
            if text.lines().any(|line| line == what) {
                return text.to_owned();
            }
        }
    };
    place.0.write("service.toml", b"[http]\ndrain_delay = \"1s\"\n");
    let file = place.0.path("service.toml");
    let mut command = place.command(&["serve", "--config", file.to_str().unwrap()]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "100000");
    let served = Served::start(&mut command);
    assert!(told("READY=1").contains("STATUS=rustkernel: 13 kernels"));
    told("WATCHDOG=1");
    told("WATCHDOG=1");
    served.signal(Signal::HUP);
    told("RELOADING=1");
    told("READY=1");
    served.signal(Signal::TERM);
    assert!(told("STOPPING=1").contains("EXTEND_TIMEOUT_USEC=36000000"));
    // That it reads its files again is no news any more, and that it is ready would be wrong.
    served.signal(Signal::HUP);
    // (It waits for whoever reads this, as systemd does.)
    socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let mut buffer = [0; 1024];
    while let Ok(length) = socket.recv(&mut buffer) {
        let text = std::str::from_utf8(&buffer[..length]).unwrap();
        assert_eq!(text.trim(), "WATCHDOG=1");
    }
    let (code, said) = served.end();
    assert_eq!(code, 0, "{said}");
    assert_eq!(said.matches("read again").count(), 2, "{said}");
}

#[test]
fn a_file_is_read_again_and_one_that_is_wrong_changes_nothing() {
    let place = Place::new();
    let file = place.0.path("service.toml");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write("service_name = \"images\"\n[kernels.saxpy]\nqueue = 64\n");
    let path = file.to_str().unwrap();
    let served = place.serve(&["--config", path]);
    let status = json(&place.run(&["runtime", "status", "--output-format", "json"]).stdout);
    assert_eq!(status["name"], "images");
    let reload = || place.run(&["runtime", "reload", "--output-format", "json"]);

    write(
        "service_name = \"pictures\"\n[kernels.saxpy]\nqueue = 8\ndeadline = \"1s\"\n\
         [observability.log]\nlevel = \"error\"\n[security.caller]\nconcurrent = 8\n",
    );
    let reloaded = json(&reload().stdout);
    let changed = [
        "kernels.saxpy.deadline",
        "kernels.saxpy.queue",
        "observability.log.level",
        "security.caller.concurrent",
    ];
    assert_eq!(reloaded["changed"], serde_json::json!(changed));
    assert_eq!(reloaded["read"], serde_json::json!(["configuration"]));
    assert_eq!(reloaded["need_restart"], serde_json::json!(["service_name"]));
    let waiting = || -> Vec<(String, serde_json::Value)> {
        let shown = json(&place.run(&["runtime", "show", "--output-format", "json"]).stdout);
        let rows = shown.as_array().unwrap().iter().filter(|row| row["needs_restart"] == true);
        rows.map(|row| (row["key"].as_str().unwrap().to_owned(), row["in_effect"].clone()))
            .collect()
    };
    assert_eq!(waiting(), [("service_name".to_owned(), "images".into())]);
    let table = place.run(&["runtime", "show"]).stdout;
    let (_, until) = table.split_once("UNTIL THEN\n").unwrap();
    assert_eq!(until, "service_name         \"images\"\n");

    // Longer than at the start: for that the places are not there.
    write("service_name = \"images\"\n[kernels.saxpy]\nqueue = 65\ndeadline = \"1s\"\n");
    let reloaded = json(&reload().stdout);
    let changed = ["observability.log.level", "security.caller.concurrent"];
    assert_eq!(reloaded["changed"], serde_json::json!(changed));
    assert_eq!(reloaded["need_restart"], serde_json::json!(["kernels.saxpy.queue"]));
    assert_eq!(waiting(), [("kernels.saxpy.queue".to_owned(), 8.into())]);
    let again = json(&reload().stdout);
    assert_eq!(again["changed"], serde_json::json!([]));
    assert_eq!(again["need_restart"], reloaded["need_restart"], "as long as it differs");
    let both = place.run(&["runtime", "show", "--preset", "hp", "--endpoint", "unix:/a.sock"]);
    assert_eq!(both.code, 64, "{}", both.stderr);

    // What the file does not say any more stays as it is until the next start.
    write("[kernels.saxpy]\nqueue = 8\n");
    assert_eq!(json(&reload().stdout)["changed"], serde_json::json!([]));
    assert_eq!(
        waiting(),
        [
            ("service_name".to_owned(), "images".into()),
            ("kernels.saxpy.deadline".to_owned(), "1s".into()),
        ]
    );

    write("[kernels.saxpy]\nqueue = \"many\"\n");
    let refused = reload();
    assert_eq!(refused.code, 78);
    assert!(refused.stderr.contains("nothing was changed"), "{}", refused.stderr);
    assert!(refused.stderr.contains("service.toml:2: kernels.saxpy.queue"), "{}", refused.stderr);

    // The signal does the same.
    served.signal(Signal::HUP);
    served.signal(Signal::TERM);
    let (code, said) = served.end();
    assert_eq!(code, 0, "{said}");
}

/// How a process ended, which it does in time.
fn ended_in_time(process: &mut Child) -> Option<i32> {
    let since = Instant::now();
    loop {
        if let Some(status) = process.try_wait().unwrap() {
            return status.code();
        }
        if since.elapsed() > Duration::from_secs(20) {
            process.kill().unwrap();
            return None;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// A terminal that is held with Ctrl-S, or a collector of logs that hangs, is such a reader.
#[test]
fn who_does_not_read_what_is_told_keeps_no_signal_waiting() {
    let place = Place::new();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let stderr = writer.try_clone().unwrap();
    thread::spawn(move || while writer.write_all(&[b'.'; 4096]).is_ok() {});
    thread::sleep(Duration::from_millis(200));
    let mut process = place.command(&["serve", "-vv"]).stderr(stderr).spawn().unwrap();
    let since = Instant::now();
    let status = || place.run(&["runtime", "status", "--output-format", "json"]);
    while !status().stdout.contains("\"running\"") {
        assert!(since.elapsed() < Duration::from_secs(20), "it does not start");
    }
    kill_process(Pid::from_child(&process), Signal::HUP).unwrap();
    kill_process(Pid::from_child(&process), Signal::TERM).unwrap();
    assert_eq!(ended_in_time(&mut process), Some(0));
    drop(reader);
}

#[test]
fn a_service_manager_that_hangs_keeps_no_signal_waiting() {
    let place = Place::new();
    let path = place.0.path("notify");
    let _held = UnixDatagram::bind(&path).unwrap();
    let full = UnixDatagram::unbound().unwrap();
    full.set_nonblocking(true).unwrap();
    while full.send_to(b"WATCHDOG=1", &path).is_ok() {}
    let mut command = place.command(&["serve"]);
    let mut served = Served::start(command.env("NOTIFY_SOCKET", &path));
    served.signal(Signal::HUP);
    served.signal(Signal::TERM);
    assert_eq!(ended_in_time(&mut served.process), Some(0));
}

#[test]
fn a_file_that_hangs_keeps_no_signal_waiting() {
    let place = Place::new();
    let file = place.0.path("service.toml");
    std::fs::write(&file, "").unwrap();
    let mut served = place.serve(&["--config", file.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
    mkfifoat(CWD, &file, Mode::RUSR | Mode::WUSR).unwrap();
    served.signal(Signal::HUP);
    thread::sleep(Duration::from_millis(300));
    served.signal(Signal::HUP);
    served.signal(Signal::TERM);
    assert_eq!(ended_in_time(&mut served.process), Some(0));
}

#[test]
fn a_certificate_is_renewed_also_where_there_is_no_file_of_values() {
    let place = Place::new();
    let paths = ["cert.pem", "key.pem"].map(|name| place.0.path(name));
    let write = |path: &Path, text: &str| {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    };
    let certify = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        write(&paths[0], &made.cert.pem());
        write(&paths[1], &made.signing_key.serialize_pem());
    };
    certify();
    let [certificate, key] = &paths;
    let certificate = format!("security.tls.certificate={}", certificate.display());
    let key = format!("security.tls.key={}", key.display());
    let served = place.serve(&["--set", &certificate, "--set", &key]);
    certify();
    let renewed = place.run(&["runtime", "reload"]);
    let told = "certificates read again; no value changed\n";
    assert_eq!((renewed.code, &*renewed.stdout), (0, told), "{}", renewed.stderr);
    write(&paths[1], "nothing");
    let refused = place.run(&["runtime", "reload"]);
    assert_eq!(refused.code, 78);
    assert!(refused.stderr.contains("no private key"), "{}", refused.stderr);
    served.signal(Signal::TERM);
    let (code, said) = served.end();
    assert_eq!(code, 0, "{said}");
}

#[test]
fn what_is_asked_for_and_not_there_is_refused() {
    let place = Place::new();
    let refused = place.run(&["serve", "--set", "kernels.saxpi.queue=3"]);
    assert_eq!(refused.code, 78);
    assert!(refused.stderr.contains("names the kernel `saxpi`"), "{}", refused.stderr);
    for value in [
        "kernels.scan.group=nogroup",
        "runtime.max_kernel_instances=5",
        "kernels.scan.instances=900",
    ] {
        let refused = place.run(&["serve", "--set", value]);
        assert_eq!(refused.code, 78, "{value}: {}", refused.stderr);
    }
}

#[test]
fn production_needs_a_key_to_begin_with_and_writes_down_what_is_done() {
    let place = Place::new();
    let production = ["--preset", "production", "--set", "http.drain_delay=0s"];
    let refused = place.run(&[&["serve"], &production[..]].concat());
    assert_eq!(refused.code, 78);
    let missing = refused.stderr.split('`').find(|text| text.starts_with("rustkernel key create"));
    let create = missing.unwrap_or_else(|| panic!("{}", refused.stderr));
    // What it says to do is enough.
    let made = place.run(&create.split(' ').skip(1).collect::<Vec<_>>());
    assert_eq!(made.code, 0, "{}", made.stderr);
    let key = made.stdout.trim();
    let served = place.serve(&[&production[..], &["-v"]].concat());
    let second =
        place.run(&[&["serve", "--endpoint", &place.endpoint("b")], &production[..]].concat());
    assert_eq!(second.code, 73);
    assert!(second.stderr.contains("another process writes the audit log"), "{}", second.stderr);
    let revoked = place.run(&["key", "revoke", &key[3..15]]);
    assert_eq!(revoked.code, 0, "{}", revoked.stderr);
    let reloaded = place.run(&["runtime", "reload"]);
    assert_eq!(reloaded.stdout, "keys read again; no value changed\n", "{}", reloaded.stderr);
    let shown = place.run(&[&["config", "show"], &production[..]].concat());
    assert_eq!(place.run(&["runtime", "drain"]).code, 0);
    let (code, said) = served.end();
    assert_eq!(code, 0, "{said}");

    let log = place.0.path("state/rustkernel/rustkernel.audit.jsonl");
    let verified = place.run(&["audit", "verify", log.to_str().unwrap()]);
    assert_eq!(verified.code, 0, "{}", verified.stderr);
    let log = std::fs::read_to_string(log).unwrap();
    let records: Vec<serde_json::Value> = log.lines().map(json).collect();
    let orders = records.iter().filter(|record| record["event"] == "outcome");
    let orders: Vec<&str> = orders.map(|record| record["action"].as_str().unwrap()).collect();
    assert_eq!(orders, ["reload", "drain"]);
    assert_eq!(records.last().unwrap()["action"], "service.ended");
    for told in [&said, &log, &shown.stdout, &second.stderr] {
        assert!(!told.contains(&key[16..]), "{told}");
    }
    let exposed = place.run(&["serve", "--preset", "production", "--listen", "0.0.0.0:0"]);
    assert_eq!(exposed.code, 78);
    assert!(exposed.stderr.contains("needs TLS"), "{}", exposed.stderr);
}
