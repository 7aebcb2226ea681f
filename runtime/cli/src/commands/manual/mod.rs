//! `rustkernel completions` and `rustkernel man`: what is known of the command line, for shells and for readers.
//!
//! All of it is made from the same definition that reads the command line, so none of it can say anything else.

mod markdown;
mod roff;

use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory};

use crate::args::{Cli, CompletionsArgs, ManArgs};
use crate::catalogue::did_you_mean;
use crate::exit::{Exit, Failure};
use crate::output;

/// `rustkernel completions`.
pub(super) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "rustkernel", &mut script);
    output::print(String::from_utf8_lossy(&script))
}

/// `rustkernel man`.
pub(super) fn man(args: &ManArgs) -> Result<(), Failure> {
    let program = program();
    if args.markdown {
        return output::print(markdown::reference(&program));
    }
    match &args.output {
        Some(directory) => write_all(&program, directory),
        None => output::print(roff::page(find(&program, &args.command)?)),
    }
}

/// The definition of the command line, whole: each command with its full name and its inherited flags.
fn program() -> Command {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    program
}

/// A command and all below it.
fn all(command: &Command) -> Vec<&Command> {
    let below = command.get_subcommands().filter(|below| !below.is_hide_set()).flat_map(all);
    std::iter::once(command).chain(below).collect()
}

fn find<'c>(program: &'c Command, path: &[String]) -> Result<&'c Command, Failure> {
    path.iter().try_fold(program, |command, name| {
        command.find_subcommand(name).ok_or_else(|| {
            let meant = did_you_mean(name, command.get_subcommands().map(Command::get_name));
            let above = full_name(command);
            Failure::usage(format!("`{above}` has no command `{name}`{meant}"))
                .hint(format!("`{above} --help` shows them"))
        })
    })
}

/// As it is typed: `rustkernel runtime status`.
fn full_name(command: &Command) -> &str {
    command.get_bin_name().unwrap_or_else(|| command.get_name())
}

fn write_all(program: &Command, directory: &Path) -> Result<(), Failure> {
    let cannot = |path: &Path, error: std::io::Error| {
        Failure::new(Exit::CannotCreate, format!("{}: {error}", path.display()))
    };
    fs::create_dir_all(directory).map_err(|error| cannot(directory, error))?;
    let commands = all(program);
    for command in &commands {
        let path = directory.join(roff::file_name(command));
        fs::write(&path, roff::page(command)).map_err(|error| cannot(&path, error))?;
    }
    output::print(format_args!("wrote {} pages to {}\n", commands.len(), directory.display()))
}

/// What help has after the flags: headings, and the text below each as it stands.
fn sections(command: &Command) -> Vec<(String, String)> {
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let mut sections: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        match line.strip_suffix(':') {
            Some(heading) if !line.starts_with(' ') => {
                sections.push((heading.to_owned(), String::new()));
            }
            _ => {
                let Some((_, text)) = sections.last_mut() else { continue };
                *text += line.strip_prefix("  ").unwrap_or(line);
                text.push('\n');
            }
        }
    }
    sections.iter_mut().for_each(|(_, text)| text.truncate(text.trim_end().len()));
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_reference_is_that_of_the_command_line() {
        let documented = include_str!("../../../../../docs/cli.md");
        assert!(
            documented.ends_with(&markdown::reference(&program())),
            "end docs/cli.md with what `rustkernel man --markdown` prints"
        );
    }

    #[test]
    fn every_command_that_does_something_has_examples() {
        for command in all(&program()) {
            let named: Vec<String> = sections(command).into_iter().map(|(name, _)| name).collect();
            assert!(named.contains(&"Examples".to_owned()), "{}", full_name(command));
        }
    }

    #[test]
    fn the_help_of_every_command_is_written_down() {
        let golden = include_str!("../../../tests/golden/help.md");
        for command in all(&program()) {
            let asked = format!("$ {} --help\n", full_name(command));
            assert!(golden.contains(&asked), "add {asked} to tests/golden/help.md");
        }
    }

    #[test]
    fn what_help_says_after_the_flags_is_taken_apart() {
        let command = Command::new("a").after_help("One:\n  b\n    c\n\nTwo:\n  d\n");
        let expected = [("One".to_owned(), "b\n  c".to_owned()), ("Two".into(), "d".into())];
        assert_eq!(sections(&command), expected);
    }
}
