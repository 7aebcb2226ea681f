//! What a launch passes to its kernel.
#![allow(
    unsafe_code,
    reason = "device memory is reached by address; each block says why it is sound"
)]

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use crate::element::{Element, ElementType};
use crate::memory::Buffer;
use crate::module::LaunchConfig;
use crate::timeline::Timeline;
use std::sync::Arc;

/// One argument of a launch: a scalar, a buffer that the kernel reads (from `&Buffer`), or one that
/// it writes (from `&mut Buffer`).
///
/// The borrows make it impossible to pass one buffer as both. See [`arguments!`](crate::arguments).
pub struct Argument<'a> {
    value: Value,
    /// The stream that a buffer belongs to.
    home: Option<Arc<Timeline>>,
    borrow: PhantomData<&'a mut ()>,
}

impl Argument<'_> {
    /// Bytes that the argument occupies among the kernel's parameters.
    pub(crate) fn size(&self) -> usize {
        match self.value {
            Value::Scalar { kind, .. } => kind.size(),
            Value::Buffer { .. } => size_of::<u64>(),
        }
    }

    pub(crate) fn home(&self) -> Option<&Arc<Timeline>> {
        self.home.as_ref()
    }

    pub(crate) fn value(&self) -> Value {
        self.value
    }
}

impl<T: Element> From<T> for Argument<'_> {
    fn from(scalar: T) -> Self {
        let value = Value::Scalar { kind: T::TYPE, bytes: scalar.to_bytes() };
        Self { value, home: None, borrow: PhantomData }
    }
}

impl<'a, T: Element> From<&'a Buffer<T>> for Argument<'a> {
    fn from(buffer: &'a Buffer<T>) -> Self {
        Self {
            value: buffer.as_value(false),
            home: Some(buffer.home().clone()),
            borrow: PhantomData,
        }
    }
}

impl<'a, T: Element> From<&'a mut Buffer<T>> for Argument<'a> {
    fn from(buffer: &'a mut Buffer<T>) -> Self {
        Self {
            value: buffer.as_value(true),
            home: Some(buffer.home().clone()),
            borrow: PhantomData,
        }
    }
}

/// The arguments of a launch, in the kernel's order: `arguments![a, &x, &mut y, n]`.
#[macro_export]
macro_rules! arguments {
    ($($argument:expr),* $(,)?) => {
        [$($crate::Argument::from($argument)),*]
    };
}

/// An argument as it is passed on: plain data.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value {
    Scalar { kind: ElementType, bytes: [u8; 8] },
    Buffer { kind: ElementType, address: u64, len: usize, writable: bool },
}

impl Value {
    /// The eight bytes that the driver is pointed at; it reads as many as the kernel declares.
    #[cfg(feature = "cuda")]
    pub(crate) fn bytes(&self) -> [u8; 8] {
        match self {
            Self::Scalar { bytes, .. } => *bytes,
            Self::Buffer { address, .. } => address.to_ne_bytes(),
        }
    }
}

/// The arguments of a launch as a host function sees them.
///
/// The function holds them only while its stream runs it. Nobody else touches the buffers then:
/// they belong to that stream, and the launch borrowed each writable one alone.
pub struct HostArguments {
    values: Vec<(Value, Cell<bool>)>,
    config: LaunchConfig,
}

impl HostArguments {
    pub(crate) fn new(values: Vec<Value>, config: LaunchConfig) -> Self {
        Self { values: values.into_iter().map(|value| (value, Cell::new(false))).collect(), config }
    }

    /// The launch's geometry, which a host function is free to ignore.
    pub fn config(&self) -> &LaunchConfig {
        &self.config
    }

    /// The scalar at `index`.
    ///
    /// # Errors
    /// If there is no argument there, or it is not such a scalar.
    pub fn scalar<T: Element>(&self, index: usize) -> Result<T, String> {
        match self.at(index)?.0 {
            Value::Scalar { kind, bytes } if kind == T::TYPE => Ok(T::from_bytes(bytes)),
            other => Err(mismatch(index, other, &format!("a {} scalar", T::TYPE))),
        }
    }

    /// The buffer at `index`, to read.
    ///
    /// # Errors
    /// If there is no argument there, it is not a buffer of such elements, or it was passed to be
    /// written and has been taken already.
    pub fn read<T: Element>(&self, index: usize) -> Result<&[T], String> {
        let (address, len) = self.buffer::<T>(index, false)?;
        // SAFETY: `address` is `len` initialised elements of a live buffer of this stream. Writable
        // ones are given out once, and the others are never written during the launch.
        Ok(unsafe { std::slice::from_raw_parts(address as *const T, len) })
    }

    /// The buffer at `index`, to write. Each can be taken once.
    ///
    /// # Errors
    /// If there is no argument there, it is not a buffer of such elements that was passed to be
    /// written, or it has been taken already.
    #[allow(clippy::mut_from_ref, reason = "each writable buffer is given out once")]
    pub fn write<T: Element>(&self, index: usize) -> Result<&mut [T], String> {
        let (address, len) = self.buffer::<T>(index, true)?;
        // SAFETY: as in `read`; the launch borrowed the buffer mutably, so it is no other argument's,
        // and `buffer` gives it out once.
        Ok(unsafe { std::slice::from_raw_parts_mut(address as *mut T, len) })
    }

    fn buffer<T: Element>(&self, index: usize, to_write: bool) -> Result<(usize, usize), String> {
        let (value, taken) = self.at(index)?;
        let Value::Buffer { kind, address, len, writable } = *value else {
            return Err(mismatch(index, *value, &format!("a buffer of {}", T::TYPE)));
        };
        if kind != T::TYPE || (to_write && !writable) {
            let wanted = if to_write { "a writable buffer" } else { "a buffer" };
            return Err(mismatch(index, *value, &format!("{wanted} of {}", T::TYPE)));
        }
        if writable && taken.replace(true) {
            return Err(format!("argument {index} has been taken already"));
        }
        Ok((address as usize, len))
    }

    fn at(&self, index: usize) -> Result<&(Value, Cell<bool>), String> {
        let count = self.values.len();
        self.values
            .get(index)
            .ok_or_else(|| format!("there is no argument {index}; {count} were given"))
    }
}

fn mismatch(index: usize, value: Value, wanted: &str) -> String {
    let given = match value {
        Value::Scalar { kind, .. } => format!("a {kind} scalar"),
        Value::Buffer { kind, writable: true, .. } => format!("a writable buffer of {kind}"),
        Value::Buffer { kind, writable: false, .. } => format!("a read-only buffer of {kind}"),
    };
    format!("argument {index} is {given}, not {wanted}")
}

impl fmt::Debug for Argument<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl fmt::Debug for HostArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.values.iter().map(|(value, _)| value)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments_over(memory: &mut [f32]) -> HostArguments {
        let buffer = |writable| Value::Buffer {
            kind: ElementType::F32,
            address: memory.as_ptr() as u64,
            len: memory.len(),
            writable,
        };
        let scalar = Argument::from(7u32).value();
        HostArguments::new(vec![scalar, buffer(true), buffer(false)], LaunchConfig::new(1, 1))
    }

    #[test]
    fn arguments_are_given_by_type_and_position() {
        let mut memory = [1.0f32, 2.0];
        let arguments = arguments_over(&mut memory);
        assert_eq!(arguments.scalar::<u32>(0), Ok(7));
        assert_eq!(arguments.read::<f32>(2).unwrap(), [1.0, 2.0]);
        assert!(
            arguments.scalar::<f32>(0).unwrap_err().contains("a UINT32 scalar, not a FP32 scalar")
        );
        assert!(arguments.scalar::<u32>(1).unwrap_err().contains("writable buffer of FP32"));
        assert!(arguments.write::<f32>(2).unwrap_err().contains("read-only"));
        assert!(arguments.read::<u8>(2).unwrap_err().contains("buffer of UINT8"));
        assert!(arguments.read::<u8>(3).unwrap_err().contains("no argument 3; 3 were given"));
    }

    #[test]
    fn a_writable_buffer_is_given_once() {
        let mut memory = [0.0f32; 2];
        let arguments = arguments_over(&mut memory);
        arguments.write::<f32>(1).unwrap()[0] = 5.0;
        assert!(arguments.write::<f32>(1).unwrap_err().contains("taken already"));
        assert!(arguments.read::<f32>(1).unwrap_err().contains("taken already"));
    }
}
