//! All commands on one page of Markdown.

use std::fmt::Write;

use clap::{Arg, Command};

use super::{all, full_name, sections};

/// A section for each command: what it does, what it takes, examples.
pub(super) fn reference(program: &Command) -> String {
    let mut text = String::new();
    for command in all(program) {
        describe(&mut text, command).expect("invariant: a String takes whatever is written");
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

fn describe(text: &mut String, command: &Command) -> std::fmt::Result {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    writeln!(text, "### `{}`\n\n{about}.\n\n```text\n{usage}\n```\n", full_name(command))?;
    // (What all commands take is said once, at the top.)
    let is_root = !full_name(command).contains(' ');
    let own: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| is_root || !(arg.is_global_set() || arg.get_id() == "help"))
        .collect();
    if !own.is_empty() {
        writeln!(text, "| takes | meaning |\n|---|---|")?;
        own.into_iter().try_for_each(|arg| row(text, arg))?;
        writeln!(text)?;
    }
    for (heading, body) in sections(command) {
        writeln!(text, "{heading}:\n\n```text\n{body}\n```\n")?;
    }
    Ok(())
}

fn row(text: &mut String, arg: &Arg) -> std::fmt::Result {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    write!(text, "| {} | {}", names(arg), help.replace('|', "\\|"))?;
    let values: Vec<String> =
        arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    let takes_values = arg.get_action().takes_values();
    if takes_values && !values.is_empty() {
        write!(text, " ({})", values.join(", "))?;
    }
    let defaults: Vec<String> = arg
        .get_default_values()
        .iter()
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    if takes_values && !defaults.is_empty() {
        write!(text, "; {} without it", defaults.join(", "))?;
    }
    writeln!(text, " |")
}

/// As it is typed: `-i`, `--input <NAME=FILE>`.
fn names(arg: &Arg) -> String {
    let values = arg.get_value_names().unwrap_or_default().iter();
    let values: Vec<String> =
        values.map(|name| format!("<{}>", name.replace('|', "\\|"))).collect();
    let values = if arg.get_action().takes_values() { values.join(" ") } else { String::new() };
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long} {values}").trim().to_owned());
    let names: Vec<String> =
        short.into_iter().chain(long).map(|name| format!("`{name}`")).collect();
    if names.is_empty() { format!("`{values}`") } else { names.join(", ") }
}
