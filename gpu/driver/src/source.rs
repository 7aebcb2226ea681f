//! Which library is the driver: chosen once, at the first call, and never unloaded.

use std::ffi::{CStr, OsStr, c_void};
use std::fmt;
use std::sync::OnceLock;

/// The environment variable that names the driver's file. Without it the system's is looked for.
pub const ENV: &str = "CUDA_DRIVER_LIBRARY";

#[cfg(windows)]
const NAMES: &[&str] = &["nvcuda.dll"];
#[cfg(not(windows))]
const NAMES: &[&str] = &["libcuda.so.1", "libcuda.so"];

/// Finds an entry point by name: all that a driver is to this crate.
pub type Lookup = fn(&CStr) -> Option<*mut c_void>;

/// Why there is no driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    tried: Vec<String>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no CUDA driver ({})", self.tried.join("; "))
    }
}

impl std::error::Error for Missing {}

enum Source {
    File(libloading::Library),
    InProcess(Lookup),
}

struct Driver {
    source: Source,
    name: String,
}

static DRIVER: OnceLock<Result<Driver, Missing>> = OnceLock::new();

/// The file that the driver was opened from, opening it if nothing has yet.
///
/// # Errors
/// [`Missing`], with each name that was tried, where no driver could be opened.
pub fn location() -> Result<&'static str, &'static Missing> {
    driver().map(|driver| driver.name.as_str())
}

/// Uses `lookup` for a driver instead of a file, so that tests can bring their own.
///
/// Returns false, and changes nothing, if a driver was chosen before.
pub fn install(name: &str, lookup: Lookup) -> bool {
    DRIVER.set(Ok(Driver { source: Source::InProcess(lookup), name: name.into() })).is_ok()
}

pub(crate) fn find(name: &CStr) -> Option<*mut c_void> {
    match &driver().ok()?.source {
        Source::InProcess(lookup) => lookup(name),
        Source::File(library) => {
            // SAFETY: the symbol is only used as an address here, and the library is never unloaded.
            let symbol = unsafe { library.get::<*mut c_void>(name.to_bytes_with_nul()) };
            symbol.ok().map(|symbol| *symbol)
        }
    }
}

fn driver() -> Result<&'static Driver, &'static Missing> {
    DRIVER.get_or_init(open).as_ref()
}

fn open() -> Result<Driver, Missing> {
    let named = std::env::var_os(ENV).filter(|name| !name.is_empty());
    let usual = || NAMES.iter().map(OsStr::new).collect();
    let names: Vec<&OsStr> = named.as_deref().map_or_else(usual, |name| vec![name]);
    let mut tried = Vec::new();
    for name in names {
        // SAFETY: this runs the library's initialisers, as linking to it would. It is the driver by
        // the operator's word, and stays loaded for good.
        match unsafe { libloading::Library::new(name) } {
            Ok(library) => {
                let name = name.to_string_lossy().into_owned();
                return Ok(Driver { source: Source::File(library), name });
            }
            Err(error) => tried.push(reason(&name.to_string_lossy(), &error)),
        }
    }
    Err(Missing { tried })
}

/// The loader's message, with the file's name where the loader left it out.
fn reason(name: &str, error: &libloading::Error) -> String {
    let text =
        std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    if text.contains(name) { text } else { format!("{name}: {text}") }
}
