//! What the program says of itself it says at once: it looks at no file and no driver for that, and takes little
//! of a processor.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails is to say where")]

mod support;

use support::Folder;

/// Most of a processor's time that a start may take, in milliseconds.
const MOST: f64 = 20.0;
const TIMES: u32 = 20;

#[test]
fn help_opens_neither_a_configuration_nor_a_driver() {
    let folder = Folder::new();
    for of_itself in
        ["--help", "call --help", "help runtime drain", "--version", "completions zsh", "man call"]
    {
        // (Whoever opens a pipe that nobody writes waits for ever.)
        let ended = folder.shell(&format!(
            "rm -f rustkernel.toml && mkfifo rustkernel.toml
             RUSTKERNEL_CONFIG=$PWD/rustkernel.toml CUDA_DRIVER_LIBRARY=$PWD/rustkernel.toml \\
             RUSTKERNEL_GPU_ENABLED=maybe timeout 20 $RUSTKERNEL {of_itself}"
        ));
        assert_eq!((ended.code, &*ended.stderr), (0, ""), "{of_itself}");
        assert!(ended.stdout.len() > 10, "{of_itself}: {}", ended.stdout);
    }
}

#[test]
fn help_takes_little_of_a_processor() {
    // (Not the time that passes, in which others use the processor as well.)
    let script = format!("for i in $(seq {TIMES}); do $RUSTKERNEL --help > help; done; times");
    let times = Folder::new().shell(&script).stdout;
    let of_children = times.lines().nth(1).unwrap_or_else(|| panic!("two lines: {times}"));
    let seconds = of_children.split_whitespace().map(|time| {
        let (minutes, seconds) = time.trim_end_matches('s').split_once('m').unwrap();
        60.0 * minutes.parse::<f64>().unwrap() + seconds.parse::<f64>().unwrap()
    });
    let each = seconds.sum::<f64>() * 1000.0 / f64::from(TIMES);
    println!("{each:.1} ms each");
    assert!(each > 0.0 && each <= MOST, "{each} ms each");
}
