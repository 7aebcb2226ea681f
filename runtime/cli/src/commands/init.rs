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
/// Where this program was built; it is part of the library's sources.
const BUILT_IN: &str = env!("CARGO_MANIFEST_DIR");
/// What cargo needs to be told outside of this repository, which has a `.cargo` of its own.
const CARGO: &str = "[env]
# Where `cust` looks for a CUDA library to link to. None is needed: the driver is found when the program runs.
CUDA_LIBRARY_PATH = \"/\"
";

pub(crate) fn run(args: &InitArgs) -> Result<(), Failure> {
    let mut files = vec![("rustkernel.toml", config::template(args.preset))];
    if args.example {
        let library = library(args.library.as_deref(), Path::new(BUILT_IN))?;
        files.push(("Cargo.toml", manifest(&args.directory, &library)));
        files.push((".cargo/config.toml", CARGO.into()));
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

/// Where `rustkernel-core` is: in the checkout that was named, or else in the one that this was built in. It is on no
/// registry, so there is nowhere else to take it from.
fn library(named: Option<&Path>, built_in: &Path) -> Result<String, Failure> {
    let checkout = named.unwrap_or(built_in.ancestors().nth(2).unwrap_or(built_in));
    let sources = checkout.join("runtime").canonicalize().unwrap_or_default();
    let manifest = fs::read_to_string(sources.join("Cargo.toml")).unwrap_or_default();
    match sources.into_os_string().into_string() {
        Ok(sources) if manifest.contains("name = \"rustkernel-core\"") => Ok(sources),
        _ => Err(Failure::new(
            Exit::NoInput,
            format!("the sources of RustKernel are not in {}", checkout.display()),
        )
        .hint("`--library DIR` says where a checkout of its repository is")),
    }
}

fn manifest(directory: &Path, library: &str) -> String {
    let name = directory.canonicalize().ok();
    let name = name.as_deref().unwrap_or(directory).file_name().and_then(|name| name.to_str());
    let name: String = name.unwrap_or_default().chars().filter_map(plain).collect();
    let name = if name.starts_with(|first: char| first.is_ascii_alphabetic()) {
        &*name
    } else {
        "kernels"
    };
    // (A string of JSON is one of TOML.)
    let library = serde_json::Value::from(library);
    format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         # Of no workspace, also inside of one.\n[workspace]\n\n\
         [dependencies]\n\
         # By its sources: it is on no registry.\nrustkernel-core = {{ path = {library} }}\n\
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_where_this_was_built_unless_another_checkout_is_named() {
        let here = Path::new(BUILT_IN);
        let runtime = here.join("../../runtime").canonicalize().unwrap();
        assert_eq!(library(None, here).unwrap(), runtime.to_str().unwrap());
        let (nowhere, checkout) = (Path::new("/nonexistent/runtime/cli"), here.join("../.."));
        assert_eq!(library(Some(&checkout), nowhere).unwrap(), runtime.to_str().unwrap());
    }

    #[test]
    fn without_the_sources_the_way_out_is_said() {
        let failure = library(None, Path::new("/nonexistent/runtime/cli")).unwrap_err();
        assert_eq!(failure.message, "the sources of RustKernel are not in /nonexistent");
        assert!(failure.hint.unwrap().contains("--library DIR"));
        // A directory that has a crate at that place, but another's.
        let other = tempfile::tempdir().unwrap();
        fs::create_dir(other.path().join("runtime")).unwrap();
        fs::write(other.path().join("runtime/Cargo.toml"), "[package]\nname = \"runtime\"\n")
            .unwrap();
        assert_eq!(
            library(Some(other.path()), Path::new(BUILT_IN)).unwrap_err().exit,
            Exit::NoInput
        );
    }

    #[test]
    fn a_path_is_quoted_as_toml_wants_it() {
        let text = manifest(Path::new("."), "/a \"b\"\\c");
        assert!(text.contains(r#"rustkernel-core = { path = "/a \"b\"\\c" }"#), "{text}");
    }
}
