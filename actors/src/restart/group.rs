//! Kernels that are restarted together.

/// Which kernels of a group are restarted when one of them ends and is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// That one.
    #[default]
    OneForOne,
    /// All of them.
    OneForAll,
    /// That one, and those that were started after it.
    RestForOne,
}

/// Kernels that belong together, by name. They are stopped in the reverse order of their start, and
/// started again in that order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name, as in [`KernelSpec::group`](crate::kernel::KernelSpec::group).
    pub name: String,
    /// Which of them are restarted together.
    pub strategy: Strategy,
}

impl Strategy {
    /// That of the group of that name; one for one for who is in none.
    pub(crate) fn of(groups: &[Group], name: Option<&str>) -> Self {
        let own = groups.iter().find(|group| Some(group.name.as_str()) == name);
        own.map(|group| group.strategy).unwrap_or_default()
    }
}

impl Group {
    /// A group of that name.
    pub fn new(name: impl Into<String>, strategy: Strategy) -> Self {
        Self { name: name.into(), strategy }
    }
}
