//! What is made of the command line's definition is what its readers take: shells and `man`.
//!
//! Where a shell or `man` is not installed, its test has nothing to try and says so.
#![allow(clippy::print_stderr, reason = "tests tell what they leave out")]

mod support;

use std::process::Command;

use support::{Folder, end, rustkernel};

fn is_installed(tool: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("{tool} is not installed: nothing was tried");
    }
    found
}

#[test]
fn shells_accept_their_scripts() {
    for (shell, check) in
        [("bash", "bash -n script"), ("zsh", "zsh -n script"), ("fish", "fish --no-execute script")]
    {
        let folder = Folder::new();
        let script = folder.run(&["completions", shell]);
        assert_eq!(script.code, 0, "{}", script.stderr);
        folder.write("script", script.stdout.as_bytes());
        if is_installed(shell) {
            let checked = folder.shell(check);
            assert_eq!((checked.code, &*checked.stderr), (0, ""), "{shell}");
        }
    }
    for shell in ["elvish", "powershell"] {
        let script = end(rustkernel().args(["completions", shell]));
        assert_eq!(script.code, 0, "{}", script.stderr);
        assert!(script.stdout.contains("high_performance"), "{shell} is told the presets");
    }
}

#[test]
fn bash_completes_commands_flags_and_values() {
    let complete = |words: &str| {
        let script = format!(
            "source <($RUSTKERNEL completions bash)\n\
             COMP_WORDS=(rustkernel {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
             _rustkernel rustkernel \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"\n\
             echo ${{COMPREPLY[@]}}"
        );
        let ended = Folder::new().shell(&script);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        ended.stdout.trim().to_owned()
    };
    assert_eq!(complete("runtime st"), "status stop");
    assert_eq!(complete("config generate --pre"), "--preset");
    assert_eq!(complete("config generate --preset h"), "high_performance");
    assert_eq!(complete("device list --output-format y"), "yaml");
}

#[test]
fn fish_completes_commands_and_values() {
    if !is_installed("fish") {
        return;
    }
    let complete = |words: &str| {
        let script = format!(
            "PATH=$(dirname $RUSTKERNEL):$PATH HOME=$PWD \
             fish -c 'rustkernel completions fish | source; complete -C \"rustkernel {words}\"'"
        );
        let ended = Folder::new().shell(&script);
        assert_eq!((ended.code, &*ended.stderr), (0, ""), "{words}");
        // (Each with its description behind it.)
        let names = ended.stdout.lines().map(|line| line.split('\t').next().unwrap_or(line));
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(complete("runtime st"), "status stop");
    assert_eq!(complete("config generate --preset h"), "high_performance");
    assert_eq!(complete("device list --output-format y"), "yaml");
}

/// Types words at a shell's prompt, and a tab, and waits for what is to stand there then.
const ZSH: &str = r#"
zmodload zsh/zpty
complete() {
    zpty shell zsh -f -i
    zpty -w shell "fpath=($PWD \$fpath); autoload -Uz compinit; compinit -u -D; print rea''dy"
    zpty -r shell before '*ready*' || exit
    zpty -w -n shell "rustkernel $1"$'\t'
    zpty -r shell after "*rustkernel $2*" || exit
    zpty -d shell
}
complete 'runtime stat' 'runtime status'
complete 'config generate --preset h' 'config generate --preset high_performance'
complete 'device list --output-format y' 'device list --output-format yaml'
"#;

#[test]
fn zsh_completes_commands_and_values() {
    if !is_installed("zsh") {
        return;
    }
    let folder = Folder::new();
    let script = folder.run(&["completions", "zsh"]);
    folder.write("_rustkernel", script.stdout.as_bytes());
    folder.write("complete.zsh", ZSH.as_bytes());
    let ended = folder.shell("TERM=dumb timeout 60 zsh -f complete.zsh");
    assert_eq!((ended.code, &*ended.stderr), (0, ""));
}

#[test]
fn man_sets_every_page_without_a_warning() {
    let folder = Folder::new();
    let wrote = folder.run(&["man", "--output", "pages"]);
    assert_eq!(wrote.code, 0, "{}", wrote.stderr);
    let pages: Vec<_> = std::fs::read_dir(folder.path("pages")).expect("written").collect();
    assert!(wrote.stdout.contains(&format!("wrote {} pages", pages.len())), "{}", wrote.stdout);
    assert!(pages.len() > 20, "{}", pages.len());
    for page in pages {
        let name = page.expect("readable").file_name().into_string().expect("names are UTF-8");
        let path = format!("pages/{name}");
        let text = String::from_utf8(folder.read(&path)).expect("pages are UTF-8");
        assert!(text.contains(".TH rustkernel") && text.contains(".SH EXAMPLES"), "{name}");
        if is_installed("man") {
            let set = folder.shell(&format!("man --warnings -l {path}"));
            assert_eq!((set.code, &*set.stderr), (0, ""), "{name}");
        }
    }
}
