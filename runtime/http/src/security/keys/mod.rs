//! API keys: made, kept as hashes, compared in constant time.
//!
//! A key is `rk_ID_SECRET`: twelve hexadecimal digits that name it, and 64 that are 32 random bytes of the
//! system. The file has the SHA-256 of the whole text. (The secret is random and long, so a hash that is slow to
//! compute would add nothing but a way to keep the service busy.)

mod file;
mod key;

pub use file::{KeysError, KeysFile, default_path};
pub(super) use key::is_meant;
pub use key::{ApiKey, KeyRecord, KeyState, NewKey};
