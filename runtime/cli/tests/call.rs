//! `rustkernel call` from end to end: what comes out, where it goes, and every exit code.
#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use support::{Folder, data, end, f32s, npy, rustkernel};

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// 2 x + y of the vectors that every folder has.
const SUM: [f32; 4] = [10.0, 22.0, 34.0, 46.0];

#[test]
fn a_small_result_is_printed_and_the_run_is_told() {
    let ended = Folder::with_vectors().saxpy(&["-i", "x=x.npy"]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "output, FP32 [4] = [10.0, 22.0, 34.0, 46.0]\n")
    );
    assert!(ended.stderr.starts_with("saxpy on host ("), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1);
}

#[test]
fn a_large_result_is_summarised() {
    let folder = Folder::new();
    folder.write("y.npy", &f32s(&[0.0; 100]));
    folder.write("x.npy", &f32s(&(0..100).map(|n| n as f32).collect::<Vec<_>>()));
    let ended = folder.saxpy(&["-i", "x=x.npy"]);
    assert_eq!(ended.stdout, "output, FP32 [100]: min 0.0, max 198.0, mean 99.0\n");
}

#[test]
fn a_result_goes_to_its_file_and_nothing_else_does() {
    let folder = Folder::with_vectors();
    let ended = folder.saxpy(&["-i", "x=x.npy", "-o", "output=sum.npy"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, ""));
    assert!(ended.stderr.ends_with("\n  output: FP32 [4] → sum.npy\n"), "{}", ended.stderr);
    assert_eq!(data(&folder.read("sum.npy")), bytes(&SUM));
    assert_eq!(folder.names(), ["sum.npy", "x.npy", "y.npy"]);
    assert_eq!(folder.saxpy(&["-i", "x=x.npy", "-q", "-o", "output=sum.npy"]).stderr, "");
}

#[test]
fn a_program_reads_one_json_object() {
    let folder = Folder::with_vectors();
    let run = |arguments: &[&str]| {
        let json = [&["-i", "x=x.npy", "--output-format", "json"], arguments].concat();
        let ended = folder.saxpy(&json);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
        serde_json::from_str::<serde_json::Value>(&ended.stdout).unwrap()
    };
    let mut written = run(&["-o", "output=sum.npy"]);
    assert!(written["milliseconds"].take().as_f64().unwrap() > 0.0);
    let output = serde_json::json!(
        { "name": "output", "datatype": "FP32", "shape": [4], "file": "sum.npy" }
    );
    let expected = serde_json::json!(
        {
            "kernel": "saxpy",
            "device": "host",
            "milliseconds": null,
            "memory": {
                "device": { "declared": 0, "peak": 0 },
                "staging": { "declared": 0, "peak": 0 },
            },
            "outputs": [output],
        }
    );
    assert_eq!(written, expected);
    let printed = run(&[]);
    assert_eq!(printed["outputs"][0]["data"], serde_json::json!(SUM));
    assert_eq!(printed["outputs"][0]["file"], serde_json::Value::Null);
}

#[test]
fn both_orders_and_both_byte_orders_are_read() {
    let folder = Folder::with_vectors();
    let big: Vec<u8> =
        [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_be_bytes()).collect();
    folder.write("big.npy", &npy(">f4", true, "(4,)", &big));
    let ended = folder.saxpy(&["-i", "x=big.npy"]);
    assert_eq!(ended.stdout, "output, FP32 [4] = [12.0, 24.0, 36.0, 48.0]\n");
}

#[test]
fn an_input_may_be_an_output_and_may_be_read_twice() {
    let folder = Folder::with_vectors();
    let ended = folder.run(&[
        "call",
        "saxpy",
        "-i",
        "x=x.npy",
        "-i",
        "y=x.npy",
        "-p",
        "a=1",
        "-o",
        "output=x.npy",
    ]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(data(&folder.read("x.npy")), bytes(&[0.0, 2.0, 4.0, 6.0]));
}

#[test]
fn the_host_is_used_without_a_look_at_cuda() {
    let folder = Folder::with_vectors();
    let log = |device: &str| folder.saxpy(&["-i", "x=x.npy", "-v", "--device", device]).stderr;
    assert!(log("auto").contains("no CUDA driver"), "{}", log("auto"));
    assert!(!log("host").contains("CUDA"), "{}", log("host"));
}

#[test]
fn a_log_is_written_on_request() {
    let folder = Folder::with_vectors();
    let log = |flag: &str| folder.saxpy(&["-i", "x=x.npy", flag]).stderr;
    assert!(log("-v").contains("kernel started"), "{}", log("-v"));
    assert!(log("-v").contains("all requests answered"), "to its end: {}", log("-v"));
    assert!(log("-vv").contains("kernel started"));
    assert_eq!(log("-q"), "");
}

/// Then memory comes in pieces instead of from one range of addresses.
#[test]
#[cfg(target_os = "linux")]
fn a_process_that_may_have_few_addresses_works_all_the_same() {
    let folder = Folder::new();
    let ones = |count| [1.0f32; 16][..count].iter().flat_map(|one| one.to_le_bytes()).collect();
    let matrix = |side: usize| -> Vec<u8> {
        let data: Vec<u8> = ones(side * side);
        npy("<f4", false, &format!("(1, 1, {side}, {side})"), &data)
    };
    folder.write("input.npy", &matrix(4));
    folder.write("weight.npy", &matrix(3));
    // A convolution takes memory for its columns.
    let call = "$RUSTKERNEL call conv2d -i input=input.npy -i weight=weight.npy";
    let ended = folder.shell(&format!("ulimit -v 2000000 && {call}"));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.contains("[[[[9.0, 9.0], [9.0, 9.0]]]]"), "{}", ended.stdout);
}

#[test]
fn a_device_that_is_not_there_is_69() {
    let ended = Folder::with_vectors().saxpy(&["-i", "x=x.npy", "--device", "cuda:0"]);
    assert_eq!(ended.code, 69);
    let expected = "error: device cuda:0 is not available: no CUDA driver (no-such-driver.so: ";
    assert!(ended.stderr.starts_with(expected), "{}", ended.stderr);
}

#[test]
fn a_deadline_that_cannot_be_kept_is_75() {
    let folder = Folder::with_vectors();
    let fixed = ["call", "black_scholes", "-i", "spot=y.npy", "-i", "strike=y.npy"];
    let much = ["-i", "maturity=x.npy", "-p", "paths=4000000000", "-o", "call=call.npy"];
    let ended = end(&mut folder.rustkernel(&[&fixed[..], &much, &["--deadline", "20ms"]].concat()));
    assert_eq!(ended.code, 75, "{}", ended.stderr);
    assert!(ended.stderr.contains("\nhint: `--deadline`"), "{}", ended.stderr);
    assert_eq!(folder.names(), ["x.npy", "y.npy"], "a failed call writes nothing");
}

#[test]
fn outputs_that_cannot_be_written_are_73() {
    let folder = Folder::with_vectors();
    std::fs::create_dir(folder.path("folder.npy")).unwrap();
    folder.write("kept.npy", b"kept");
    let mut permissions = std::fs::metadata(folder.path("kept.npy")).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(folder.path("kept.npy"), permissions).unwrap();
    for (place, reason) in [
        ("folder.npy", "it is a directory"),
        ("kept.npy", "it is write-protected"),
        ("no/folder.npy", "there is no directory no"),
        ("x.npy/sum.npy", "Not a directory"),
    ] {
        let ended = folder.saxpy(&["-i", "x=x.npy", "-o", &format!("output={place}")]);
        let expected = format!("error: output `output`: {place} cannot be written: {reason}");
        assert_eq!(ended.code, 73);
        assert!(ended.stderr.starts_with(&expected), "{}", ended.stderr);
    }
    assert_eq!(folder.read("kept.npy"), b"kept");
}

#[test]
#[cfg(unix)]
fn a_file_keeps_its_permissions_and_a_link_its_target() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = Folder::with_vectors();
    let mode =
        |name: &str| std::fs::metadata(folder.path(name)).unwrap().permissions().mode() & 0o777;
    folder.write("private.npy", b"");
    std::fs::set_permissions(folder.path("private.npy"), PermissionsExt::from_mode(0o600)).unwrap();
    symlink("private.npy", folder.path("link.npy")).unwrap();
    assert_eq!(folder.saxpy(&["-i", "x=x.npy", "-o", "output=link.npy"]).code, 0);
    assert_eq!((mode("private.npy"), folder.read("private.npy").len()), (0o600, 128 + 16));
    assert!(std::fs::symlink_metadata(folder.path("link.npy")).unwrap().is_symlink());
    folder
        .shell("umask 027; $RUSTKERNEL call saxpy -i x=x.npy -i y=y.npy -p a=1 -o output=new.npy");
    assert_eq!(mode("new.npy"), 0o640, "a new file has the permissions of any new file");
}

#[test]
#[cfg(unix)]
fn special_files_are_written_into_and_never_replaced() {
    use std::os::unix::fs::FileTypeExt;
    let folder = Folder::with_vectors();
    let ended = folder.saxpy(&["-i", "x=x.npy", "-o", "output=/dev/null"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let about = std::fs::metadata("/dev/null").unwrap();
    assert!(about.file_type().is_char_device(), "/dev/null is still what it was");
    let script = "$RUSTKERNEL call saxpy -q -i x=x.npy -i y=y.npy -p a=2 -o output=/dev/stdout | cat > out.npy";
    assert_eq!(folder.shell(script).code, 0);
    assert_eq!(data(&folder.read("out.npy")), bytes(&SUM));
    let ended = folder.saxpy(&["-i", "x=x.npy", "-o", "output=/dev/full"]);
    assert_eq!(ended.code, 73);
    assert!(
        ended.stderr.contains("/dev/full cannot be written: No space left"),
        "{}",
        ended.stderr
    );
}

#[test]
#[cfg(unix)]
fn inputs_may_come_through_pipes() {
    let folder = Folder::with_vectors();
    let script = "cat x.npy | $RUSTKERNEL call saxpy -i x=/dev/stdin -i y=<(cat y.npy) -p a=2";
    let ended = folder.shell(script);
    assert_eq!(ended.stdout, "output, FP32 [4] = [10.0, 22.0, 34.0, 46.0]\n", "{}", ended.stderr);
}

#[test]
#[cfg(unix)]
fn file_names_need_not_be_utf_8() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = Folder::with_vectors();
    let name = |text: &'static [u8]| OsStr::from_bytes(text);
    folder.write(name(b"\xff\xfe=.npy"), &folder.read("x.npy"));
    let call = |input: &'static [u8], output: &'static [u8]| {
        let mut command = folder.rustkernel(&["call", "saxpy", "-i", "y=y.npy", "-p", "a=2", "-i"]);
        end(command.arg(name(input)).arg("-o").arg(name(output)))
    };
    assert_eq!(call(b"x=\xff\xfe=.npy", b"output=\xfd.npy").code, 0);
    assert_eq!(data(&std::fs::read(folder.path(name(b"\xfd.npy"))).unwrap()), bytes(&SUM));
    let ended = call(b"x=\xff\xfd.npy", b"output=sum.npy");
    assert_eq!(ended.code, 66);
    assert!(ended.stderr.contains("\u{fffd}\u{fffd}.npy cannot be read"), "{}", ended.stderr);
    assert_eq!(call(b"\xff=x.npy", b"output=sum.npy").code, 64, "a field's name does");
    let kernel = end(rustkernel().args(["call"]).arg(name(b"\xff")));
    assert_eq!(kernel.code, 64);
}

#[test]
fn a_reader_that_goes_away_is_no_failure_and_a_full_disk_is_one() {
    let folder = Folder::with_vectors();
    let call = "$RUSTKERNEL call saxpy -q -i x=x.npy -i y=y.npy -p a=2";
    for command in
        ["$RUSTKERNEL kernel list", "$RUSTKERNEL --help", "$RUSTKERNEL device list", call]
    {
        let ended = folder.shell(&format!("{command} | true; echo ${{PIPESTATUS[0]}}"));
        assert_eq!((ended.stdout.trim(), ended.stderr.as_str()), ("0", ""), "{command}");
        if Path::new("/dev/full").exists() {
            let ended = folder.shell(&format!("{command} > /dev/full"));
            assert_eq!(ended.code, 73, "{command}");
            let expected = "error: standard output cannot be written: No space left on device";
            assert!(ended.stderr.starts_with(expected), "{}", ended.stderr);
            // Where nobody can be told, the code says it.
            assert_eq!(folder.shell(&format!("{command} > /dev/full 2> /dev/full")).code, 73);
        }
        folder.shell(&format!("{command} >&- 2>&-"));
    }
    assert_eq!(folder.shell("$RUSTKERNEL call saxpi 2> /dev/full").code, 64);
}

#[test]
fn colours_are_for_those_who_want_them() {
    let coloured = |name: &str, value: &str| {
        let mut command = rustkernel();
        let ended =
            end(command.args(["call", "saxpi"]).env("CLICOLOR_FORCE", "1").env(name, value));
        ended.stderr.contains('\x1b')
    };
    assert!(coloured("NO_COLOR", ""));
    assert!(!end(rustkernel().args(["call", "saxpi"])).stderr.contains('\x1b'));
    assert!(!end(rustkernel().args(["kernel", "list"])).stdout.contains('\x1b'));
}

#[test]
fn two_runs_do_not_disturb_each_other() {
    let folder = Folder::with_vectors();
    let start = || {
        let mut command: Command = folder.rustkernel(&[
            "call",
            "saxpy",
            "-i",
            "x=x.npy",
            "-i",
            "y=y.npy",
            "-p",
            "a=2",
            "-o",
            "output=sum.npy",
        ]);
        command.stderr(Stdio::null()).spawn().unwrap()
    };
    let mut children: Vec<_> = (0..8).map(|_| start()).collect();
    assert!(children.iter_mut().all(|child| child.wait().unwrap().success()));
    assert_eq!(data(&folder.read("sum.npy")), bytes(&SUM));
    assert_eq!(folder.names(), ["sum.npy", "x.npy", "y.npy"]);
}

#[test]
fn memory_is_recorded_on_request() {
    let folder = Folder::with_vectors();
    let record = |arguments: &[&str]| folder.saxpy(&[&["-i", "x=x.npy"], arguments].concat());
    let ended = record(&["--record-memory", "trace.csv"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    // (Nothing but what the caller gave: it works on that.)
    assert!(
        ended.stderr.contains("memory of host: 0 allocations → trace.csv\n"),
        "{}",
        ended.stderr
    );
    assert_eq!(folder.read("trace.csv"), b"t_us,op,id,bytes,stream\n");
    let rmm = record(&["--record-memory", "rmm.csv", "--record-format", "rmm", "-q"]);
    assert_eq!((rmm.code, rmm.stderr.as_str()), (0, ""));
    assert_eq!(folder.read("rmm.csv"), b"Thread,Time,Action,Pointer,Size,Stream\n");
}

#[test]
#[cfg(target_os = "linux")]
fn a_recording_that_cannot_be_written_to_its_end_is_73() {
    let folder = Folder::with_vectors();
    std::os::unix::fs::symlink("/dev/full", folder.path("full.csv")).unwrap();
    let ended =
        folder.saxpy(&["-i", "x=x.npy", "-o", "output=sum.npy", "--record-memory", "full.csv"]);
    assert_eq!(ended.code, 73, "{}", ended.stderr);
    let expected = "error: memory cannot be recorded to full.csv: No space left on device";
    assert!(ended.stderr.starts_with(expected), "{}", ended.stderr);
    assert_eq!(folder.names(), ["full.csv", "x.npy", "y.npy"]);
}

#[test]
fn a_recording_needs_a_place_and_an_ending() {
    let folder = Folder::with_vectors();
    let record = |path| folder.saxpy(&["-i", "x=x.npy", "--record-memory", path]);
    for (path, code, reason) in [
        ("trace.txt", 64, "its name has to end in .csv or .csv.gz\n"),
        ("nowhere/trace.csv", 73, "No such file or directory (os error 2)\n"),
    ] {
        let ended = record(path);
        let expected = format!("error: memory cannot be recorded to {path}: {reason}");
        assert_eq!((ended.code, ended.stderr), (code, expected));
    }
    assert_eq!(folder.names(), ["x.npy", "y.npy"]);
    assert_eq!(folder.saxpy(&["-i", "x=x.npy", "--record-format", "rmm"]).code, 64);
}
