//! Loading: layers laid over one another, and what has changed since.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::error::{ConfigError, Origin, Problem, TOLD};
use super::layer::{self, Effective, Layer};
use super::{Format, ProductionConfig, fields, file, rules};
use crate::runtime::RuntimePreset;

/// Loads a configuration: defaults, then a preset, a file, variables and flags, as far as they are asked
/// for; the later wins.
#[derive(Debug, Clone, Default)]
pub struct Loader {
    preset: Option<(RuntimePreset, String)>,
    file: Option<PathBuf>,
    variables: Vec<(OsString, OsString)>,
    flags: Vec<(String, String, String)>,
}

/// A configuration, and where its values are from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: ProductionConfig,
    layer: Layer,
}

/// Which keys differ between two configurations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Those that can take effect while the runtime runs.
    pub live: Vec<String>,
    /// Those that take effect at the next start.
    pub at_restart: Vec<String>,
}

impl Loader {
    /// Defaults and nothing else.
    pub fn new() -> Self {
        Self::default()
    }

    /// The preset, whatever the file or a variable names; `flag` says so in errors.
    #[must_use]
    pub fn preset(mut self, preset: RuntimePreset, flag: impl Into<String>) -> Self {
        self.preset = Some((preset, flag.into()));
        self
    }

    /// A file, TOML or YAML by its name.
    #[must_use]
    pub fn file(mut self, path: impl AsRef<Path>) -> Self {
        self.file = Some(path.as_ref().to_owned());
        self
    }

    /// The variables of this process that begin with `RUSTKERNEL_`.
    #[must_use]
    pub fn environment(self) -> Self {
        self.variables(std::env::vars_os())
    }

    /// Variables; those that do not begin with `RUSTKERNEL_` are not looked at.
    #[must_use]
    pub fn variables<N: Into<OsString>, V: Into<OsString>>(
        mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.variables =
            variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        self.variables.sort();
        self
    }

    /// A value by its key, as written in a variable; `flag` says so in errors.
    #[must_use]
    pub fn set(
        mut self,
        key: impl Into<String>,
        text: impl Into<String>,
        flag: impl Into<String>,
    ) -> Self {
        self.flags.push((key.into(), text.into(), flag.into()));
        self
    }

    /// The configuration.
    ///
    /// # Errors
    /// If the file cannot be read; else everything that is wrong, wherever it is.
    pub fn load(self) -> Result<Loaded, ConfigError> {
        let file = self.file.as_deref().map(file::read);
        self.load_over(file)
    }

    /// The configuration, with this in the place of a file.
    ///
    /// # Errors
    /// Everything that is wrong, wherever it is. `name` stands for the file there.
    pub fn load_text(
        self,
        text: &[u8],
        format: Format,
        name: impl AsRef<Path>,
    ) -> Result<Loaded, ConfigError> {
        let file = file::parse(text, format, &Arc::from(name.as_ref()));
        self.load_over(Some(file))
    }

    fn load_over(self, file: Option<Result<Layer, ConfigError>>) -> Result<Loaded, ConfigError> {
        let (variables, mut problems) = self.variable_layer();
        let mut is_malformed = false;
        let file = match file.transpose() {
            Ok(file) => file.unwrap_or_default(),
            Err(ConfigError::Invalid(malformed)) => {
                problems.extend(malformed);
                is_malformed = true;
                Layer::default()
            }
            Err(unreadable) => return Err(unreadable),
        };
        let mut layers = [file, variables, self.flag_layer()];
        problems.extend(layers.iter_mut().flat_map(Layer::take_problems));
        if is_malformed || problems.len() > TOLD {
            // (What was meant is not known, so nothing is said of what goes together.)
            return Err(ConfigError::told(problems));
        }

        let named = layers.iter().rev().find_map(|layer| layer.get("environment"));
        let named = named.and_then(Value::as_str).and_then(|name| name.parse().ok());
        let mut layer = layer::preset(self.preset.as_ref().map(|(preset, _)| *preset).or(named));
        layers.into_iter().for_each(|above| layer.cover(above));
        let config = layer.config().or_else(|found| {
            layer.forget(&found);
            problems.extend(found);
            layer.config()
        });
        let Ok(config) = config else { return Err(ConfigError::told(problems)) };
        problems.extend(broken_rules(&config, &layer, &problems));
        ConfigError::of(problems).map(|()| Loaded { config, layer })
    }

    fn variable_layer(&self) -> (Layer, Vec<Problem>) {
        let own =
            |name: &OsString| name.to_str().is_some_and(|name| name.starts_with("RUSTKERNEL_"));
        let (mut texts, mut problems) = (Vec::new(), Vec::new());
        for (name, value) in self.variables.iter().filter(|(name, _)| own(name)) {
            let name = name.to_string_lossy().into_owned();
            match value.to_str() {
                Some(text) => texts.push((name, text.to_owned())),
                // (Those that name files are no values of keys, and paths may be any bytes.)
                None if layer::is_foreign(&name) => {}
                None => problems.push(Problem {
                    key: String::new(),
                    origin: Origin::Variable(name),
                    reason: "it is not UTF-8".into(),
                }),
            }
        }
        let (layer, found) = layer::variables(&texts);
        problems.extend(found);
        (layer, problems)
    }

    fn flag_layer(&self) -> Layer {
        let mut layer = Layer::default();
        for (key, text, flag) in &self.flags {
            let path: Vec<&str> = key.split('.').collect();
            layer.set_text(&path, text, Origin::Flag(flag.clone()));
        }
        if let Some((preset, flag)) = &self.preset {
            layer.set_text(&["environment"], preset.name(), Origin::Flag(flag.clone()));
        }
        layer
    }
}

/// The rules that the values break together; but for those that look at a value which is wrong by itself.
fn broken_rules(config: &ProductionConfig, layer: &Layer, wrong: &[Problem]) -> Vec<Problem> {
    let told = |(key, reason): (String, String)| {
        let is_open = wrong.iter().any(|wrong| rules::looks_at(&key, &wrong.key));
        // (Of values that do not go together, the one that somebody has set is to be changed.)
        let said = layer.said().find(|(said, _)| rules::looks_at(&key, said));
        let (key, origin) = match said.filter(|_| !layer.origin(&key).is_own()) {
            Some((said, origin)) => (said.to_owned(), origin.clone()),
            None => (key.clone(), layer.origin(&key)),
        };
        (!is_open).then_some(Problem { key, origin, reason })
    };
    rules::problems(config).into_iter().filter_map(told).collect()
}

impl Loaded {
    /// Every value, and where it is from.
    pub fn effective(&self) -> Vec<Effective> {
        layer::effective(&self.config, &self.layer)
    }

    /// What is different in another configuration.
    pub fn changes(&self, other: &Self) -> Changes {
        let rows = |loaded: &Self| {
            loaded.effective().into_iter().map(|row| (row.key, row.value.to_string())).collect()
        };
        let (own, others): (BTreeSet<_>, BTreeSet<_>) = (rows(self), rows(other));
        let keys: BTreeSet<String> =
            own.symmetric_difference(&others).map(|(key, _)| key.clone()).collect();
        let is_live =
            |key: &String| fields().iter().any(|field| field.is_live() && field.names(key));
        let (live, at_restart) = keys.into_iter().partition(is_live);
        Changes { live, at_restart }
    }
}
