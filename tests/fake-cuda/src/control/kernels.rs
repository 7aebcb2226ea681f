//! Kernels with a body in Rust, in the place of their PTX.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::code::{Answer, Code};
use crate::device::context::Context;
use crate::sim::Segment;

/// A kernel's body: `Err` is the code with which the launch fails.
pub(crate) type Body = Arc<dyn Fn(&Launch) -> Result<(), u32> + Send + Sync>;

static BODIES: Mutex<Option<HashMap<(String, Option<usize>), Body>>> = Mutex::new(None);

/// Gives the kernel `name` a body in Rust, on all devices: launches call it in the place of the PTX.
/// It is called once for each launch, on the thread of the launch's stream, and may not call the
/// driver.
///
/// ```
/// fake_cuda::register("fill", |launch| {
///     let (to, count, value) = (launch.arg::<u64>(0), launch.arg::<u32>(1), launch.arg::<f32>(2));
///     launch.slice::<f32>(to, count as usize)?.fill(value);
///     Ok(())
/// });
/// ```
pub fn register(
    name: &str,
    body: impl Fn(&Launch) -> Result<(), u32> + Send + Sync + 'static,
) {
    insert(name, None, Arc::new(body));
}

/// As [`register`], on one device only.
pub fn register_on(
    device: usize,
    name: &str,
    body: impl Fn(&Launch) -> Result<(), u32> + Send + Sync + 'static,
) {
    insert(name, Some(device), Arc::new(body));
}

fn insert(name: &str, device: Option<usize>, body: Body) {
    BODIES.lock().get_or_insert_default().insert((name.into(), device), body);
}

/// Takes the Rust bodies of the kernel `name` away, on all devices: its PTX runs again.
pub fn unregister(name: &str) {
    if let Some(bodies) = &mut *BODIES.lock() {
        bodies.retain(|(own, _), _| own != name);
    }
}

/// Takes away the bodies that are of one device only.
pub(crate) fn clear_on(ordinal: usize) {
    if let Some(bodies) = &mut *BODIES.lock() {
        bodies.retain(|(_, device), _| *device != Some(ordinal));
    }
}

/// The body of the kernel `name` on a device.
pub(crate) fn find(name: &str, device: usize) -> Option<Body> {
    let bodies = BODIES.lock();
    let bodies = bodies.as_ref()?;
    let own = bodies.get(&(name.into(), Some(device)));
    own.or_else(|| bodies.get(&(name.into(), None))).cloned()
}

/// One launch, as a kernel in Rust sees it.
pub struct Launch {
    /// The kernel's name.
    pub name: String,
    /// The device that it runs on.
    pub device: usize,
    /// Blocks in the grid.
    pub grid: [u32; 3],
    /// Threads in a block.
    pub block: [u32; 3],
    /// The dynamic shared memory of a block, in bytes.
    pub shared_bytes: u32,
    pub(crate) arguments: Vec<Vec<u8>>,
    pub(crate) context: Arc<Context>,
    /// Keeps the memory that slices were taken of.
    pub(crate) held: Mutex<Vec<Segment>>,
}

impl Launch {
    /// The number of threads of the grid.
    pub fn threads(&self) -> usize {
        self.grid.iter().chain(&self.block).map(|size| *size as usize).product()
    }

    /// The argument at `index`.
    ///
    /// # Panics
    /// If there is no such argument, or its size is not that of `T`.
    pub fn arg<T: bytes::Plain>(&self, index: usize) -> T {
        T::from_bytes(&self.arguments[index])
    }

    /// The bytes of the argument at `index`, as the launch passed them.
    ///
    /// # Panics
    /// If there is no such argument.
    pub fn arg_bytes(&self, index: usize) -> &[u8] {
        &self.arguments[index]
    }

    /// `len` values at a device address, in the launch's own memory or in the host's.
    ///
    /// The kernel is as free with them as on a device: two slices of the same memory are the test's
    /// own business.
    ///
    /// # Errors
    /// The code of an illegal or a misaligned address, which a body returns with `?`.
    #[allow(clippy::mut_from_ref, reason = "device memory has no owner; see the documentation")]
    pub fn slice<T: bytes::Plain>(&self, address: u64, len: usize) -> Result<&mut [T], u32> {
        self.memory(address, len).map_err(|code| code.0)
    }

    #[allow(clippy::mut_from_ref, reason = "as `slice`")]
    fn memory<T: bytes::Plain>(&self, address: u64, len: usize) -> Answer<&mut [T]> {
        use crate::sim::AddressSpace;
        if len == 0 {
            return Ok(&mut []);
        }
        if address % align_of::<T>() as u64 != 0 {
            return Err(Code::MISALIGNED_ADDRESS);
        }
        let bytes = len.checked_mul(size_of::<T>()).ok_or(Code::ILLEGAL_ADDRESS)? as u64;
        let segment = self.context.find(address).ok_or(Code::ILLEGAL_ADDRESS)?;
        let start = segment.at(address, bytes).ok_or(Code::ILLEGAL_ADDRESS)?;
        self.held.lock().push(segment);
        // SAFETY: so many bytes are live there, and stay so while the launch holds the segment; every
        // pattern of bits is a `T`. Races are those of the program under test.
        Ok(unsafe { std::slice::from_raw_parts_mut(start.cast(), len) })
    }

    /// Whether the context is gone: a body that runs long should look, and return.
    pub fn is_stopped(&self) -> bool {
        self.context.is_destroyed()
    }
}

/// The types that device memory can be read as.
mod bytes {
    /// Any pattern of bits is a value.
    pub trait Plain: Copy {
        /// The value of so many bytes.
        fn from_bytes(bytes: &[u8]) -> Self;
    }

    macro_rules! plain {
        ($($ty:ident)*) => { $(
            impl Plain for $ty {
                fn from_bytes(bytes: &[u8]) -> Self {
                    let sized = bytes.try_into();
                    let sized = sized.expect("invariant: the argument has the size of its type");
                    $ty::from_le_bytes(sized)
                }
            }
        )* };
    }

    plain! { u8 i8 u16 i16 u32 i32 u64 i64 usize isize f32 f64 }
}
