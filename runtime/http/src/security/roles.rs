//! The table of who may do what.

use std::fmt;
use std::fmt::Write;
use std::str::FromStr;

/// What somebody is to the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Looks: kernels, statistics, metrics, state.
    Viewer,
    /// Calls kernels.
    Executor,
    /// Runs the service, and sees nobody's data.
    Operator,
    /// May do everything.
    Admin,
}

/// Something that a request may need. Those of the data plane have the names of Triton's groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Whether it lives and is ready. Everybody may ask, without credentials: probes have none.
    Health,
    /// What kernels there are, and what they take.
    Metadata,
    /// Calling a kernel.
    Inference,
    /// How a kernel is configured.
    ModelConfig,
    /// Loading and unloading kernels.
    ModelRepository,
    /// What kernels have done.
    Statistics,
    /// Metrics.
    Metrics,
    /// The state of the service, its kernels and devices.
    Status,
    /// The configuration in effect, without secrets.
    Config,
    /// Letting it finish what is in flight, and end.
    Drain,
    /// Cancelling what is in flight, and ending it.
    Stop,
    /// Reading configuration and keys again.
    Reload,
    /// Restarting a kernel.
    Restart,
    /// Lifting a kernel's quarantine.
    Lift,
}

use Permission as P;
use Role as R;

/// What each permission is called, and who has it. What is not here is denied.
const TABLE: [(Permission, &str, &[Role]); 14] = [
    (P::Health, "health", &[R::Viewer, R::Executor, R::Operator, R::Admin]),
    (P::Metadata, "metadata", &[R::Viewer, R::Executor, R::Operator, R::Admin]),
    (P::Inference, "inference", &[R::Executor, R::Admin]),
    (P::ModelConfig, "model-config", &[R::Viewer, R::Executor, R::Operator, R::Admin]),
    (P::ModelRepository, "model-repository", &[R::Operator, R::Admin]),
    (P::Statistics, "statistics", &[R::Viewer, R::Executor, R::Operator, R::Admin]),
    (P::Metrics, "metrics", &[R::Viewer, R::Operator, R::Admin]),
    (P::Status, "status", &[R::Viewer, R::Operator, R::Admin]),
    (P::Config, "config", &[R::Operator, R::Admin]),
    (P::Drain, "drain", &[R::Operator, R::Admin]),
    (P::Stop, "stop", &[R::Admin]),
    (P::Reload, "reload", &[R::Operator, R::Admin]),
    (P::Restart, "restart", &[R::Operator, R::Admin]),
    (P::Lift, "lift", &[R::Operator, R::Admin]),
];

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Executor, Self::Operator, Self::Admin];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Executor => "executor",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// Whether it has a permission.
    pub fn may(self, permission: Permission) -> bool {
        let row = TABLE.iter().find(|(other, ..)| *other == permission);
        row.is_some_and(|(.., roles)| roles.contains(&self))
    }
}

impl Permission {
    /// Every permission.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|(permission, ..)| *permission)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        let row = TABLE.iter().find(|(other, ..)| *other == self);
        row.expect("invariant: every permission has a row, as a test shows").1
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text is no role's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no role; there are viewer, executor, operator and admin")]
pub struct UnknownRole(String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| UnknownRole(text.into()))
    }
}

/// The table as Markdown, as the documentation has it.
pub fn table() -> String {
    let mut text = String::from(
        "| permission | viewer | executor | operator | admin |\n|---|---|---|---|---|\n",
    );
    for permission in Permission::all() {
        let cells = Role::ALL.map(|role| if role.may(permission) { "yes" } else { "–" });
        writeln!(text, "| `{permission}` | {} |", cells.join(" | "))
            .expect("invariant: a String takes whatever is written");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_the_same_table() {
        let documented = include_str!("../../../../docs/security.md");
        assert!(documented.contains(&table()), "docs/security.md has to have\n{}", table());
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(role));
        }
        for wrong in ["", "Admin", "root", "admin "] {
            assert_eq!(wrong.parse::<Role>(), Err(UnknownRole(wrong.into())));
        }
    }
}
