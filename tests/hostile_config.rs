//! Whatever is in a configuration file, reading it takes at most a second of a processor and 64 MiB, of a
//! whole process, and what is refused has its reason.
//!
//! Each file is read in a process of its own, which is this test again, and tells what it took.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use rustkernel_core::config::{ConfigError, Loader};

/// The longest file that is read at all, in bytes.
const LONGEST: usize = 256 * 1024;
/// Most memory of a process that reads one, in KiB.
const MEMORY: u64 = 64 * 1024;
/// Most time of a processor.
const TIME: Duration = Duration::from_secs(1);
/// The variable that names the file to the process that reads it.
const FILE: &str = "HOSTILE_FILE";

/// What the process that reads a file tells of it.
#[test]
#[ignore = "run by the others, in a process of its own"]
fn reads_a_file() {
    let path = std::env::var(FILE).expect("run by the others");
    // (What takes everything the machine has shall not take it from others.)
    let most = Some(1 << 30);
    setrlimit(Resource::As, Rlimit { current: most, maximum: most }).unwrap();
    let before = processor_time();
    let outcome = Loader::new().file(path).load();
    let took = processor_time() - before;
    let problems = outcome.as_ref().err().map_or(&[][..], ConfigError::problems);
    assert!(outcome.is_ok() || !problems.is_empty());
    assert!(problems.iter().all(|problem| !problem.reason.is_empty()));
    assert!(problems.len() <= 101, "of very many the first are told");
    println!("told: {} {} {}", took.as_millis(), peak_kib(), problems.len());
}

/// What this thread had of a processor.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

/// The most memory that this process has had.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Has the file read, and returns the number of problems that were found with it.
fn read(folder: &Path, name: &str, text: &str) -> u64 {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "reads_a_file", "--ignored", "--nocapture"]).env(FILE, &path);
    let output = again.output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{name}: {stdout}{}", String::from_utf8_lossy(&output.stderr));
    let (_, told) = stdout.split_once("told: ").unwrap();
    let told: Vec<u64> = told.split_whitespace().map_while(|it| it.parse().ok()).collect();
    let [milliseconds, kib, problems] = told[..] else { panic!("{name}: {stdout}") };
    println!("{name:<22} {milliseconds:>4} ms {:>3} MiB {problems:>4} problems", kib / 1024);
    assert!(u128::from(milliseconds) <= TIME.as_millis(), "{name} took {milliseconds} ms");
    assert!(kib <= MEMORY, "{name} took {kib} KiB");
    problems
}

/// Lines made of their numbers, as many as are read.
fn lines(line: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for number in 0.. {
        let line = line(number);
        if text.len() + line.len() > LONGEST {
            break;
        }
        text += &line;
    }
    text
}

/// A beginning, a middle as often as it fits, an end.
fn filled(begin: &str, middle: &str, end: &str) -> String {
    let times = (LONGEST - begin.len() - end.len()) / middle.len();
    format!("{begin}{}{end}", middle.repeat(times))
}

/// Ten of what is above, again and again.
fn bomb() -> String {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        text += &format!("a{level}: &a{level} [{before}]\n");
    }
    text
}

fn hostile_toml() -> Vec<(&'static str, String)> {
    vec![
        ("keys", lines(|at| format!("k{at} = 1\n"))),
        ("one key", lines(|_| "a = 1\n".into())),
        ("kernels", lines(|at| format!("[kernels.k{at}]\nqueue = 3\n"))),
        ("wrong kernels", lines(|at| format!("[kernels.k{at}]\nqueue = 'x'\n"))),
        ("wrong numbers", filled("runtime.devices = [", "1,", "]")),
        ("huge numbers", filled("a = [", "9e999,", "]")),
        ("many devices", filled("runtime.devices = [", "'host',", "]")),
        ("long text", filled("service_name = '", "x", "'")),
        ("escapes", filled("service_name = \"", "\\u0041", "\"")),
        ("long key", filled("", "a", " = 1")),
        ("dotted key", filled("", "a.", "a = 1")),
        ("deep lists", filled("a = ", "[", "")),
        ("deep tables", filled("a = ", "{a=", "")),
        ("tables in tables", lines(|at| format!("[{}k{at}]\n", "a.".repeat(20)))),
        ("lists of tables", lines(|_| "[[a]]\n".into())),
        ("no keys", lines(|_| "=\n".into())),
        ("no tables", lines(|_| "[\n".into())),
        ("no ends", filled("", "'''", "'")),
        ("too long", "a = 1\n".repeat(LONGEST)),
    ]
}

fn hostile_yaml() -> Vec<(&'static str, String)> {
    let list = format!("a: &a [{}]\n", "x,".repeat(LONGEST / 4));
    let names = lines(|at| format!("b{at}: *a\n"));
    let names = &names[..LONGEST / 4];
    vec![
        ("keys", lines(|at| format!("k{at}: 1\n"))),
        ("kernels", format!("kernels:\n{}", lines(|at| format!(" k{at}: {{queue: 3}}\n")))),
        ("wrong numbers", filled("runtime: {devices: [", "1,", "]}")),
        ("long text", filled("service_name: ", "x", "")),
        ("folded text", filled("service_name: >\n", "  x\n", "")),
        ("deep tables", filled("", "{a: ", "")),
        ("deep lists", filled("", "[", "")),
        ("deep dashes", filled("", "- ", "")),
        ("deep questions", filled("", "? ", "")),
        ("deep lines", lines(|at| format!("{}a:\n", " ".repeat(at)))),
        ("repetitions of all", bomb()),
        ("repetitions of a list", format!("{list}{names}")),
        ("repetitions of a text", format!("a: &a {}\n{names}", "x".repeat(LONGEST / 2))),
        ("repetitions of itself", "a: &a [*a, *a]\n".into()),
        ("names of values", lines(|at| format!("k{at}: &a{at} 1\n"))),
        ("merged tables", lines(|at| format!("k{at}: &a{at} {{<<: *a{at}}}\n"))),
        ("tags", lines(|at| format!("k{at}: !t{at} 1\n"))),
        ("documents", lines(|_| "---\n".into())),
        ("colons", filled("", ":", "")),
        ("spaces", filled("", " ", "a")),
        ("too long", "a: 1\n".repeat(LONGEST)),
    ]
}

#[test]
fn hostile_files_take_little_time_and_memory() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    assert_eq!(read(folder, "empty.toml", ""), 0);
    for (name, text) in hostile_toml() {
        assert!(read(folder, &format!("{name}.toml"), &text) > 0, "{name} is refused");
    }
    for (name, text) in hostile_yaml() {
        assert!(read(folder, &format!("{name}.yaml"), &text) > 0, "{name} is refused");
    }
}

#[test]
fn a_file_as_large_as_any_that_is_meant_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let kernel = |at| format!("[kernels.kernel_{at}]\nqueue = 7\ndeadline = '5s'\ninstances = 2\n");
    let text: String = (0..1000).map(kernel).collect();
    assert_eq!(read(folder, "1000 kernels.toml", &text), 0);
    let kernel = |at| format!("  kernel_{at}:\n    queue: 7\n    deadline: 5s\n    instances: 2\n");
    let text = format!("kernels:\n{}", (0..1000).map(kernel).collect::<String>());
    assert_eq!(read(folder, "1000 kernels.yaml", &text), 0);
}
