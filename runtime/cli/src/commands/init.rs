//! `rustkernel runtime init`: a project to begin with.

use std::fs;
use std::path::Path;

use rustkernel_core::config;

use super::config::write_new;
use crate::args::InitArgs;
use crate::exit::{Exit, Failure};
use crate::output;

/// The application of `--example`. (It is one of the workspace's examples too, so it compiles.)
const APPLICATION: &str = include_str!("init/main.rs");

pub(crate) fn run(args: &InitArgs) -> Result<(), Failure> {
    let mut files = vec![("rustkernel.toml", config::template(args.preset))];
    if args.example {
        files.push(("Cargo.toml", manifest(&args.directory)));
        files.push(("src/main.rs", APPLICATION.into()));
    }
    let taken = files.iter().map(|(name, _)| args.directory.join(name)).find(|path| path.exists());
    if let Some(path) = taken {
        let message = format!("{} is there already; nothing was written", path.display());
        return Err(Failure::new(Exit::CannotCreate, message).hint("take an empty directory"));
    }
    for (name, text) in &files {
        let path = args.directory.join(name);
        let parent = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(|error| {
            Failure::new(Exit::CannotCreate, format!("{}: {error}", parent.display()))
        })?;
        write_new(&path, text, false)?;
        output::print(format_args!("wrote {}\n", path.display()))?;
    }
    Ok(())
}

fn manifest(directory: &Path) -> String {
    let name = directory.canonicalize().ok();
    let name = name.as_deref().unwrap_or(directory).file_name().and_then(|name| name.to_str());
    let name: String = name.unwrap_or_default().chars().filter_map(plain).collect();
    let name = if name.starts_with(|first: char| first.is_ascii_alphabetic()) {
        &*name
    } else {
        "kernels"
    };
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\n\
         rustkernel-core = \"{version}\"\n\
         tokio = {{ version = \"1\", features = [\"macros\", \"rt-multi-thread\", \"signal\"] }}\n"
    )
}

/// A character that the name of a package may have.
fn plain(character: char) -> Option<char> {
    match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' => Some(character.to_ascii_lowercase()),
        ' ' | '.' => Some('-'),
        _ => None,
    }
}
