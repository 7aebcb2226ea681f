//! The element types that tensors and buffers hold.

use std::fmt;

/// The type of a tensor's elements, named as the Open Inference Protocol names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ElementType {
    /// 8-bit unsigned integer, `UINT8`.
    U8,
    /// 16-bit unsigned integer, `UINT16`.
    U16,
    /// 32-bit unsigned integer, `UINT32`.
    U32,
    /// 64-bit unsigned integer, `UINT64`.
    U64,
    /// 8-bit signed integer, `INT8`.
    I8,
    /// 16-bit signed integer, `INT16`.
    I16,
    /// 32-bit signed integer, `INT32`.
    I32,
    /// 64-bit signed integer, `INT64`.
    I64,
    /// IEEE 754 single precision, `FP32`.
    F32,
    /// IEEE 754 double precision, `FP64`.
    F64,
}

impl ElementType {
    /// Every element type.
    pub const ALL: [Self; 10] = [
        Self::U8,
        Self::U16,
        Self::U32,
        Self::U64,
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::F32,
        Self::F64,
    ];

    /// The Open Inference Protocol's name, as in `FP32`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::U8 => "UINT8",
            Self::U16 => "UINT16",
            Self::U32 => "UINT32",
            Self::U64 => "UINT64",
            Self::I8 => "INT8",
            Self::I16 => "INT16",
            Self::I32 => "INT32",
            Self::I64 => "INT64",
            Self::F32 => "FP32",
            Self::F64 => "FP64",
        }
    }

    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A type that device memory can hold: plain data, for which every pattern of bits is a value.
///
/// Sealed: buffers hand out slices of memory that a device wrote, which is sound only for such types.
pub trait Element:
    sealed::Sealed + Copy + Default + Send + Sync + fmt::Debug + PartialEq + 'static
{
    /// The type as a value.
    const TYPE: ElementType;

    /// The element's bytes, little-endian, in the first `size_of::<Self>()` places.
    fn to_bytes(self) -> [u8; 8];

    /// The element of `bytes`, little-endian; the inverse of [`to_bytes`](Self::to_bytes).
    fn from_bytes(bytes: [u8; 8]) -> Self;
}

macro_rules! elements {
    ($($kind:ty => $variant:ident),*) => {$(
        impl sealed::Sealed for $kind {}
        impl Element for $kind {
            const TYPE: ElementType = ElementType::$variant;

            fn to_bytes(self) -> [u8; 8] {
                let mut all = [0; 8];
                all[..size_of::<Self>()].copy_from_slice(&self.to_le_bytes());
                all
            }

            fn from_bytes(bytes: [u8; 8]) -> Self {
                let mut own = [0; size_of::<Self>()];
                own.copy_from_slice(&bytes[..size_of::<Self>()]);
                Self::from_le_bytes(own)
            }
        }
    )*};
}

elements!(u8 => U8, u16 => U16, u32 => U32, u64 => U64, i8 => I8, i16 => I16, i32 => I32, i64 => I64, f32 => F32, f64 => F64);
