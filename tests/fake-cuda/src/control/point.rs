//! The points at which a test can step in: calls of an entry point, and launches of a kernel.

use std::fmt;

/// Where a fault or a delay strikes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Point {
    /// A call of the entry point of that name, such as `cuMemAlloc_v2`.
    Call(String),
    /// A call of any entry point.
    AnyCall,
    /// A launch of the kernel of that name, on the device.
    Launch(String),
}

impl Point {
    /// `cuMemAlloc_v2`, `*` or `launch saxpy`.
    pub(crate) fn parse(text: &str) -> Result<Self, Malformed> {
        let text = text.trim();
        if let Some(kernel) = text.strip_prefix("launch ") {
            return Ok(Self::Launch(kernel.trim().into()));
        }
        match text {
            "*" => Ok(Self::AnyCall),
            name if crate::entry::ENTRY_POINTS.contains(&name) => Ok(Self::Call(name.into())),
            name => Err(Malformed(format!("`{name}` is no entry point of this driver"))),
        }
    }

    pub(crate) fn is_call_of(&self, name: &str) -> bool {
        matches!(self, Self::AnyCall) || matches!(self, Self::Call(own) if own == name)
    }

    pub(crate) fn is_launch_of(&self, kernel: &str) -> bool {
        matches!(self, Self::Launch(own) if own == kernel)
    }
}

/// Why the text of a fault or of a delay could not be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(pub(crate) String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}
