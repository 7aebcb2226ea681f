//! Where files of the service are if nobody says: the places that systemd and XDG give them.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// Where configurations are: `rustkernel` in `$CONFIGURATION_DIRECTORY`, else in `$XDG_CONFIG_HOME`, else
/// `/etc` for root and `~/.config` for others.
pub(crate) fn configuration() -> Option<PathBuf> {
    place(&["CONFIGURATION_DIRECTORY", "XDG_CONFIG_HOME"], "/etc", ".config")
}

/// Where states are kept: `rustkernel` in `$STATE_DIRECTORY`, else in `$XDG_STATE_HOME`, else `/var/lib` for
/// root and `~/.local/state` for others.
pub(crate) fn state() -> Option<PathBuf> {
    place(&["STATE_DIRECTORY", "XDG_STATE_HOME"], "/var/lib", ".local/state")
}

fn place(names: &[&str], of_root: &str, at_home: &str) -> Option<PathBuf> {
    let is_root = rustix::process::geteuid().is_root();
    find(names.iter().map(env::var_os), is_root.then_some(of_root), || {
        Some(PathBuf::from(env::var_os("HOME")?).join(at_home))
    })
}

fn find(
    named: impl Iterator<Item = Option<OsString>>,
    of_root: Option<&str>,
    at_home: impl Fn() -> Option<PathBuf>,
) -> Option<PathBuf> {
    let named = named.flatten().find(|path| !path.is_empty()).map(PathBuf::from);
    let place = named.or_else(|| of_root.map(PathBuf::from)).or_else(at_home)?;
    Some(place.join("rustkernel"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn what_is_named_wins_over_what_is_usual() {
        let named = |texts: &[&str]| {
            let texts: Vec<Option<OsString>> = texts.iter().map(|text| Some(text.into())).collect();
            let found = find(texts.into_iter(), Some("/etc"), || None);
            found.unwrap()
        };
        assert_eq!(named(&["/a", "/b"]), Path::new("/a/rustkernel"));
        assert_eq!(named(&["", "/b"]), Path::new("/b/rustkernel"));
        assert_eq!(named(&[""]), Path::new("/etc/rustkernel"));
        assert_eq!(find([None].into_iter(), None, || None), None);
    }
}
