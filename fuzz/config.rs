//! What a configuration is made of.

use rustkernel_core::config::{ConfigError, Format, Loaded, Loader};

/// A file of that format is read or refused, and no panic.
pub fn file(text: &[u8], format: Format) {
    holds(Loader::new().load_text(text, format, "file"));
}

/// So are variables: a line each, `NAME=VALUE` without `RUSTKERNEL_`.
pub fn environment(text: &str) {
    let variables = text.lines().filter_map(|line| line.split_once('='));
    let variables = variables.map(|(name, value)| (format!("RUSTKERNEL_{name}"), value));
    holds(Loader::new().variables(variables).load());
}

/// What is read is valid, and every value is there with its origin; what is refused has reasons and places.
fn holds(outcome: Result<Loaded, ConfigError>) {
    match outcome {
        Ok(loaded) => {
            loaded.config.validate().expect("what was loaded is valid");
            assert!(!loaded.effective().is_empty());
        }
        Err(error) => {
            let problems = error.problems();
            assert!(!problems.is_empty() && problems.len() <= 101);
            for problem in problems {
                assert!(!problem.reason.is_empty());
                assert!(!problem.to_string().starts_with("default: "), "{problem}");
            }
        }
    }
}
