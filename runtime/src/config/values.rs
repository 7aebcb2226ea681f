//! How values look in files: durations as `"30s"`, sizes as `"16GiB"`, choices by their names.

use std::fmt::Display;
use std::str::FromStr;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A duration: numbers with units, as in `30s` or `1m 30s`.
pub(super) const DURATION: &str =
    "^([0-9]{1,9} ?(ns|us|ms|s|m|h|d))( [0-9]{1,9} ?(ns|us|ms|s|m|h|d)){0,6}$";
/// A size: a number with a unit, as in `16GiB` or `1.5GB`.
pub(super) const SIZE: &str = "^[0-9]{1,9}([.][0-9]{1,3})? ?([KMGT]i?)?B$";
/// A device.
const DEVICE: &str = "^(host|cuda:[0-9]{1,3})$";
/// A device, or any.
const DEVICE_CHOICE: &str = "^(auto|host|cuda:[0-9]{1,3})$";

/// The schema of a [`Duration`](std::time::Duration); `humantime_serde` reads and writes it.
pub(crate) fn duration_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "duration", "pattern": DURATION })
}

/// The schema of a device's name.
pub(crate) fn devices_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": { "type": "string", "format": "device", "pattern": DEVICE },
    })
}

/// The schema of a choice of device.
pub(crate) fn device_choice_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "device", "pattern": DEVICE_CHOICE })
}

/// `off`, or an address with a port. (Of addresses of version 6 the characters alone.)
fn listen_pattern() -> String {
    let byte = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
    let port = "(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[0-9]{1,4})";
    format!(r"^(off|({byte}\.){{3}}{byte}:{port}|\[[0-9A-Fa-f:.]+\]:{port})$")
}

/// The schema of where is listened.
pub(crate) fn listen_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "address", "pattern": listen_pattern() })
}

/// The schema of a web address. Without `@`: credentials would be shown with it.
pub(crate) fn url_schema(_: &mut SchemaGenerator) -> Schema {
    let pattern = r"^https?://[^/\s@]+(/[^\s@]*)?$";
    json_schema!({ "type": "string", "format": "url", "pattern": pattern })
}

/// Sizes in bytes.
pub(crate) mod size {
    use super::*;

    const UNITS: [(&str, u64); 4] =
        [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Bytes(u64),
        Text(String),
    }

    /// In the greatest unit that it is a whole number of.
    pub(crate) fn serialize<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        match UNITS.into_iter().find(|(_, unit)| *bytes >= *unit && bytes.is_multiple_of(*unit)) {
            Some((name, unit)) => serializer.collect_str(&format_args!("{}{name}", bytes / unit)),
            None => bytes.serialize(serializer),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Bytes(bytes) => Ok(bytes),
            Written::Text(text) => parse(&text).map_err(de::Error::custom),
        }
    }

    /// The bytes of a size with a unit.
    ///
    /// # Errors
    /// A sentence if it is none.
    pub(crate) fn parse(text: &str) -> Result<u64, String> {
        text.parse().map(|size: bytesize::ByteSize| size.as_u64())
    }

    pub(crate) fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["integer", "string"], "format": "size", "minimum": 1 << 20, "pattern": SIZE })
    }
}

/// What has one of a few values, each with a name.
pub(crate) trait Choice: Copy + PartialEq + 'static {
    /// The names. Where a value has two, the first is written.
    fn names() -> impl IntoIterator<Item = (&'static str, Self)>;

    /// What has that name.
    fn named(text: &str) -> Option<Self> {
        Self::names().into_iter().find(|(name, _)| *name == text).map(|(_, value)| value)
    }
}

/// Choices by their names.
pub(crate) mod choice {
    use super::*;

    pub(crate) fn serialize<T: Choice, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let (name, _) = T::names()
            .into_iter()
            .find(|(_, other)| other == value)
            .expect("invariant: every value has a name");
        name.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, T: Choice, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let text = String::deserialize(deserializer)?;
        T::named(&text).ok_or_else(|| de::Error::custom(format!("unknown name `{text}`")))
    }

    pub(crate) fn schema<T: Choice>(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = T::names().into_iter().map(|(name, _)| name).collect();
        json_schema!({ "type": "string", "enum": names })
    }
}

/// Choices that may be left out.
pub(crate) mod chosen {
    use super::*;

    pub(crate) fn serialize<T: Choice, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => choice::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, T: Choice, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        choice::deserialize(deserializer).map(Some)
    }
}

/// What is written as it is displayed, and may be left out.
pub(crate) mod text {
    use super::*;

    pub(crate) fn serialize<T: Display, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().map(T::to_string).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Some).map_err(de::Error::custom)
    }
}

/// Lists of what is written as it is displayed.
pub(crate) mod texts {
    use super::*;

    pub(crate) fn serialize<T: Display, S: Serializer>(
        values: &[T],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(T::to_string))
    }

    pub(crate) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<T>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| text.parse().map_err(de::Error::custom)).collect()
    }
}
