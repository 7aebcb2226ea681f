//! The commands about the command line itself: completions, manual pages.

use std::path::PathBuf;

use clap::Args;
use clap::builder::StyledStr;
use clap_complete::Shell;

use super::section;

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The command whose page is printed; without one, that of `rustkernel` itself
    #[arg(conflicts_with_all = ["output", "markdown"])]
    pub(crate) command: Vec<String>,
    /// Write a page for each command into this directory, made if it is not there
    #[arg(short, long, value_name = "DIRECTORY")]
    pub(crate) output: Option<PathBuf>,
    /// Print all pages as one, as Markdown
    #[arg(long, conflicts_with = "output")]
    pub(crate) markdown: bool,
}

pub(super) fn completions_examples() -> StyledStr {
    section(
        "Examples",
        "  For bash, now and in every shell that is opened from now on:
    source <(rustkernel completions bash)
    rustkernel completions bash > ~/.local/share/bash-completion/completions/rustkernel

  For zsh, in a directory of $fpath:
    rustkernel completions zsh > ~/.zfunc/_rustkernel

  For fish:
    rustkernel completions fish > ~/.config/fish/completions/rustkernel.fish",
    )
}

pub(super) fn man_examples() -> StyledStr {
    section(
        "Examples",
        "  rustkernel man runtime drain | man -l -
  rustkernel man --output ~/.local/share/man/man1",
    )
}
