//! Files: TOML and YAML, told apart by their names.
//!
//! A file may be anybody's: whatever is in it, reading it takes little time and memory (`tests/hostile_config.rs`
//! has how much). Its length is bounded, and so is what it may hold: a few bytes can stand for many where
//! YAML repeats what was said before.

mod toml;
mod yaml;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::error::{ConfigError, Origin, Problem};
use super::layer::Layer;

/// Most bytes of a file. (Reading YAML takes time by the square of its depth.)
const MOST: u64 = 256 * 1024;
/// Most tables, lists and values in it.
const VALUES: usize = 10_000;
/// Most bytes of keys and texts in it, those that are repeated counted each time.
const TEXT: usize = 1 << 20;

/// What a file says.
///
/// # Errors
/// If it cannot be read, is neither TOML nor YAML by its name, or is malformed: then each place, where the
/// format gives it.
pub(super) fn read(path: &Path) -> Result<Layer, ConfigError> {
    let unreadable = |reason: String| ConfigError::Unreadable { path: path.to_owned(), reason };
    let file = File::open(path).map_err(|error| unreadable(error.to_string()))?;
    let mut bytes = Vec::new();
    let read = file.take(MOST + 1).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(error.to_string()))?;
    let format = Format::of(path).map_err(unreadable)?;
    parse(&bytes, format, &Arc::from(path))
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `.toml`
    Toml,
    /// `.yaml` or `.yml`
    Yaml,
}

impl Format {
    /// That of a file, by its name.
    ///
    /// # Errors
    /// A sentence if it has neither.
    pub fn of(path: &Path) -> Result<Self, String> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => Ok(Self::Toml),
            Some("yaml" | "yml") => Ok(Self::Yaml),
            _ => Err("its name has to end in .toml, .yaml or .yml".into()),
        }
    }
}

/// What bytes say.
pub(super) fn parse(bytes: &[u8], format: Format, path: &Arc<Path>) -> Result<Layer, ConfigError> {
    let problem = |line, reason| Problem { key: String::new(), origin: at(path, line), reason };
    let invalid = |line, reason| ConfigError::Invalid(vec![problem(line, reason)]);
    if bytes.len() as u64 > MOST {
        return Err(invalid(None, format!("it is longer than {} KiB", MOST / 1024)));
    }
    let text = str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        invalid(Some(line), "it is not UTF-8".into())
    })?;
    let layer = match format {
        Format::Toml => toml::layer(text, path),
        Format::Yaml => yaml::layer(text, path),
    };
    let found =
        layer.map_err(|found| found.into_iter().map(|(line, reason)| problem(line, reason)));
    found.map_err(|problems| ConfigError::Invalid(problems.collect()))
}

/// A line, if it is known, and what is wrong there.
type Malformed = (Option<usize>, String);

fn at(path: &Arc<Path>, line: Option<usize>) -> Origin {
    Origin::File { path: Arc::clone(path), line }
}

/// What a file may still hold.
struct Budget {
    values: usize,
    text: usize,
}

impl Budget {
    fn new() -> Self {
        Self { values: VALUES, text: TEXT }
    }

    /// So many values, with so many bytes of text.
    ///
    /// # Errors
    /// A sentence if that is too much.
    fn spend(&mut self, values: usize, text: usize) -> Result<(), String> {
        match (self.values.checked_sub(values), self.text.checked_sub(text)) {
            (Some(values), Some(text)) => {
                *self = Self { values, text };
                Ok(())
            }
            (None, _) => Err(format!("there are more than {VALUES} values")),
            (_, None) => Err(format!("its texts are longer than {} KiB together", TEXT / 1024)),
        }
    }
}
