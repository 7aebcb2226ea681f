//! Where a control endpoint is.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The longest name of a service, so that its socket's path stays within what the system takes.
const LONGEST_NAME: usize = 32;

/// The address of a control endpoint: a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    path: PathBuf,
}

/// The text names no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEndpoint {
    /// There is no path.
    #[error("the endpoint has no path; write one, as in unix:/run/rustkernel/main.sock")]
    Empty,
    /// It is of another kind.
    #[error("`{0}` is no Unix socket; write a path, as in unix:/run/rustkernel/main.sock")]
    NotUnix(String),
    /// The name of a service would make no file's name.
    #[error(
        "`{0}` cannot be a service's name; write up to {LONGEST_NAME} letters, digits, `-` and `_`"
    )]
    Name(String),
}

impl Endpoint {
    /// The environment variable that names an endpoint.
    pub const VARIABLE: &str = "RUSTKERNEL_ENDPOINT";

    /// `unix:/path`, or a plain path.
    ///
    /// # Errors
    /// If it is empty, or of another kind (`tcp:`, `http:`).
    pub fn parse(text: &OsStr) -> Result<Self, InvalidEndpoint> {
        let bytes = text.as_bytes();
        let path = bytes.strip_prefix(b"unix:").unwrap_or(bytes);
        if path.is_empty() {
            return Err(InvalidEndpoint::Empty);
        }
        let kinds: [&[u8]; 3] = [b"tcp:", b"http:", b"https:"];
        if kinds.into_iter().any(|kind| bytes.starts_with(kind)) {
            return Err(InvalidEndpoint::NotUnix(text.to_string_lossy().into_owned()));
        }
        Ok(Self { path: OsStr::from_bytes(path).into() })
    }

    /// The endpoint that the environment names, if it does.
    ///
    /// # Errors
    /// If what it says is none.
    pub fn from_env() -> Result<Option<Self>, InvalidEndpoint> {
        let named = env::var_os(Self::VARIABLE).filter(|text| !text.is_empty());
        named.map(|text| Self::parse(&text)).transpose()
    }

    /// The place of a service of that name, where nothing else is said: `NAME.sock` in the
    /// [directory](Self::directory).
    ///
    /// # Errors
    /// If the name is empty, too long, or has other characters than letters, digits, `-` and `_`.
    pub fn of_service(name: &str) -> Result<Self, InvalidEndpoint> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(fits) {
            return Err(InvalidEndpoint::Name(name.into()));
        }
        Ok(Self { path: Self::directory().join(format!("{name}.sock")) })
    }

    /// Where services are looked for: `$XDG_RUNTIME_DIR/rustkernel`, else `/run/rustkernel` for root, else
    /// `/tmp/rustkernel-UID`.
    pub fn directory() -> PathBuf {
        directory(env::var_os("XDG_RUNTIME_DIR"), rustix::process::geteuid().as_raw())
    }

    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's name without its ending, which is the service's in the default place.
    pub fn name(&self) -> String {
        self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }
}

impl From<PathBuf> for Endpoint {
    fn from(path: PathBuf) -> Self {
        Self { path }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix:{}", self.path.display())
    }
}

fn directory(runtime_dir: Option<OsString>, user: u32) -> PathBuf {
    match (runtime_dir.filter(|path| !path.is_empty()), user) {
        (Some(path), _) => PathBuf::from(path).join("rustkernel"),
        (None, 0) => "/run/rustkernel".into(),
        (None, user) => format!("/tmp/rustkernel-{user}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_endpoints_and_addresses_are_not() {
        let parse = |text: &str| Endpoint::parse(OsStr::new(text));
        let expected = Endpoint::from(PathBuf::from("/run/a.sock"));
        assert_eq!(parse("unix:/run/a.sock"), Ok(expected.clone()));
        assert_eq!(parse("/run/a.sock"), Ok(expected.clone()));
        assert_eq!(
            (expected.to_string(), expected.name()),
            ("unix:/run/a.sock".into(), "a".into())
        );
        assert_eq!(parse("unix:"), Err(InvalidEndpoint::Empty));
        for address in ["tcp:127.0.0.1:80", "http://localhost"] {
            assert_eq!(parse(address), Err(InvalidEndpoint::NotUnix(address.into())));
        }
    }

    #[test]
    fn a_name_is_a_file_in_the_default_place_and_nothing_else() {
        let endpoint = Endpoint::of_service("gpu-0").unwrap();
        assert_eq!(endpoint.path(), Endpoint::directory().join("gpu-0.sock"));
        for name in ["", "../a", "a b", ".a", &"a".repeat(33)] {
            assert_eq!(Endpoint::of_service(name), Err(InvalidEndpoint::Name(name.into())));
        }
    }

    #[test]
    fn the_default_place_is_the_users_own() {
        let xdg = Some(OsString::from("/run/user/7"));
        assert_eq!(directory(xdg, 7), Path::new("/run/user/7/rustkernel"));
        assert_eq!(directory(Some(OsString::new()), 0), Path::new("/run/rustkernel"));
        assert_eq!(directory(None, 7), Path::new("/tmp/rustkernel-7"));
    }
}
