//! The file of keys.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::denial::Refused;
use super::super::principal::Principal;
use super::super::trusted;
use super::key::{self, ApiKey, KeyRecord, NewKey};
use crate::{clock, places};

/// Where the file of keys is if nobody says: `rustkernel/keys.json` in `$CONFIGURATION_DIRECTORY`, else
/// `$XDG_CONFIG_HOME`, else `/etc` for root and `~/.config` for others.
///
/// # Errors
/// [`KeysError::NoPlace`] if the environment names no home.
pub fn default_path() -> Result<PathBuf, KeysError> {
    Ok(places::configuration().ok_or(KeysError::NoPlace)?.join("keys.json"))
}

/// Why keys cannot be read, made or revoked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// There is no such file.
    #[error(
        "there is no file of keys at {0}; `rustkernel key create --role executor --file {0}` makes a key, \
         and the file; or set `security.keys_file` to another one"
    )]
    Missing(PathBuf),
    /// It cannot be read or written.
    #[error("the file of keys {path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It is not what `rustkernel key` writes.
    #[error("the file of keys {path} is malformed: {reason}; `rustkernel key` writes such files")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where, and why.
        reason: String,
    },
    /// No key has that id.
    #[error("there is no key `{id}` in {path}; `rustkernel key list` shows them")]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The id.
        id: String,
    },
    /// There is no place for it.
    #[error("there is no place for a file of keys: HOME is not set; name one")]
    NoPlace,
    /// A new key would be good for longer than a time can be written.
    #[error(
        "a key's time is over at the end of the year 9999 at the latest; without one it is good for ever"
    )]
    TooLong,
    /// The system has no random bytes.
    #[error("the system has no random bytes: {0}")]
    Random(getrandom::Error),
}

/// The file's content.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    keys: Vec<KeyRecord>,
}

/// The keys of a file.
#[derive(Debug)]
pub struct KeysFile {
    keys: BTreeMap<String, Known>,
}

/// A key, and who bears it.
#[derive(Debug)]
struct Known {
    record: KeyRecord,
    bearer: Principal,
}

impl KeysFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`KeysError`] if it is not there, cannot be read, may be written by others, or is malformed.
    pub fn read(path: &Path) -> Result<Self, KeysError> {
        let bytes = trusted::read(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => KeysError::Missing(path.to_owned()),
            _ => KeysError::Io { path: path.to_owned(), error },
        })?;
        let malformed = |reason| KeysError::Malformed { path: path.to_owned(), reason };
        let content: Content =
            serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
        let mut keys = BTreeMap::new();
        for key in content.keys {
            let known = Known { bearer: key.bearer(), record: key };
            if let Some(other) = keys.insert(known.record.id.clone(), known) {
                return Err(malformed(format!("two keys have the id `{}`", other.record.id)));
            }
        }
        Ok(Self { keys })
    }

    /// Makes a key, and writes what is kept of it into the file, which is made if it is not there.
    ///
    /// # Errors
    /// [`KeysError`]; the file is as it was then.
    pub fn create(path: &Path, new: NewKey) -> Result<(ApiKey, KeyRecord), KeysError> {
        let (key, record) = KeyRecord::make(new, clock::wall())?;
        let kept = record.clone();
        Self::change(path, |keys| {
            keys.insert(record.id.clone(), record);
            Ok(())
        })?;
        Ok((key, kept))
    }

    /// Revokes a key. One that was revoked stays so, from the time it was.
    ///
    /// # Errors
    /// [`KeysError`]; the file is as it was then.
    pub fn revoke(path: &Path, id: &str) -> Result<(), KeysError> {
        Self::read(path)?;
        Self::change(path, |keys| {
            let unknown = || KeysError::Unknown { path: path.to_owned(), id: id.to_owned() };
            let key = keys.get_mut(id).ok_or_else(unknown)?;
            key.revoked.get_or_insert_with(clock::wall);
            Ok(())
        })
    }

    /// The keys, in the order of their ids.
    pub fn keys(&self) -> impl Iterator<Item = &KeyRecord> {
        self.keys.values().map(|known| &known.record)
    }

    /// Who bears the key of that text.
    pub(in super::super) fn principal(&self, text: &[u8]) -> Result<Principal, Refused> {
        let id = key::id_of(text).ok_or(Refused::Malformed)?;
        let known = self.keys.get(id).ok_or(Refused::UnknownKey)?;
        known.record.check(text)?;
        Ok(known.bearer.clone())
    }

    /// Changes the file, alone, all of it or nothing. A link stays one: the file that it leads to is changed.
    fn change(
        path: &Path,
        change: impl FnOnce(&mut BTreeMap<String, KeyRecord>) -> Result<(), KeysError>,
    ) -> Result<(), KeysError> {
        let io = |error| KeysError::Io { path: path.to_owned(), error };
        let path = &followed(path).map_err(io)?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io)?;
        let _lock = lock(path).map_err(io)?;
        let mut keys = match Self::read(path) {
            Ok(file) => file.keys.into_iter().map(|(id, known)| (id, known.record)).collect(),
            Err(KeysError::Missing(_)) => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        change(&mut keys)?;
        let content = Content { keys: keys.into_values().collect() };
        write(path, directory, &content).map_err(io)
    }
}

/// The path without links, if something is there.
fn followed(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && !path.is_symlink() => {
            Ok(path.to_owned())
        }
        followed => followed,
    }
}

fn lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path.with_added_extension("lock"))?;
    file.lock()?;
    Ok(file)
}

/// Writes beside it, and puts it in its place. A new one is its owner's alone; one that is there stays
/// whose it is, so that an administrator can make keys for a service of another user.
fn write(path: &Path, directory: &Path, content: &Content) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    if let Ok(old) = fs::metadata(path) {
        fchown(file.as_file(), Some(old.uid()), Some(old.gid()))?;
        file.as_file().set_permissions(old.permissions())?;
    }
    serde_json::to_writer_pretty(&mut file, content)?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(directory)?.sync_all()
}

/// Lists of what is written as it is displayed.
pub(super) mod texts {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(in super::super) fn serialize<T: Display, S: Serializer>(
        values: &[T],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(T::to_string))
    }

    pub(in super::super) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<T>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| text.parse().map_err(de::Error::custom)).collect()
    }
}

/// Times as RFC 3339 has them, that may be left out.
pub(super) mod times {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(in super::super) fn serialize<S: Serializer>(
        time: &Option<SystemTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => required::serialize(time, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SystemTime>, D::Error> {
        required::deserialize(deserializer).map(Some)
    }

    /// Those that may not.
    pub(in super::super) mod required {
        use super::*;

        pub(in super::super::super) fn serialize<S: Serializer>(
            time: &SystemTime,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            serializer.collect_str(&humantime::format_rfc3339_seconds(*time))
        }

        pub(in super::super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<SystemTime, D::Error> {
            let text = String::deserialize(deserializer)?;
            humantime::parse_rfc3339(&text).map_err(de::Error::custom)
        }
    }
}

/// Hashes as hexadecimal digits.
pub(super) mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(in super::super) fn serialize<S: Serializer>(
        bytes: &[u8; 32],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base16ct::lower::encode_string(bytes))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = base16ct::mixed::decode_vec(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| de::Error::custom("a hash is 64 hexadecimal digits"))
    }
}
