//! Tensors in JSON, and in bytes.
//!
//! In JSON the elements are numbers, flat or nested; in bytes they are little-endian, row by row. Bytes that come one
//! chunk after another are copied from each into the tensor that they belong to.

use std::collections::TryReserveError;
use std::fmt;

use bytemuck::{AnyBitPattern, NoUninit};
use rustkernel_core::gpu::ElementType;
use rustkernel_core::kernel::{AnyElement, AnyTensor, Tensor, with_tensor};
use serde::de::{self, DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::{Fault, Reason};

/// How deep arrays may be nested: more dimensions than any kernel has.
const DEEPEST: usize = 16;

/// The number of elements of a shape, if it fits.
pub(crate) fn volume(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |volume, length| volume.checked_mul(*length))
}

/// Does the same for each type of elements that tensors have here.
macro_rules! of_type {
    ($element:expr, $kind:ident => $read:expr) => {
        match $element {
            ElementType::U8 => of_type!(@ u8, $kind, $read),
            ElementType::U16 => of_type!(@ u16, $kind, $read),
            ElementType::U32 => of_type!(@ u32, $kind, $read),
            ElementType::U64 => of_type!(@ u64, $kind, $read),
            ElementType::I8 => of_type!(@ i8, $kind, $read),
            ElementType::I16 => of_type!(@ i16, $kind, $read),
            ElementType::I32 => of_type!(@ i32, $kind, $read),
            ElementType::I64 => of_type!(@ i64, $kind, $read),
            ElementType::F32 => of_type!(@ f32, $kind, $read),
            ElementType::F64 => of_type!(@ f64, $kind, $read),
            other => Err(format!("{other} tensors are not known here")),
        }
    };
    (@ $type:ty, $kind:ident, $read:expr) => {{
        type $kind = $type;
        $read
    }};
}

/// A tensor of little-endian bytes.
///
/// # Errors
/// If they are not as many as the shape needs.
pub(crate) fn from_bytes(
    element: ElementType,
    shape: Vec<usize>,
    bytes: &[u8],
) -> Result<AnyTensor, String> {
    fit(element, &shape, bytes.len())?;
    of_type!(element, T => tensor(shape, elements::<T>(bytes)))
}

/// Whether that many bytes are a tensor of that shape.
fn fit(element: ElementType, shape: &[usize], bytes: usize) -> Result<(), String> {
    let needed = volume(shape).and_then(|volume| volume.checked_mul(element.size()));
    if needed == Some(bytes) {
        return Ok(());
    }
    Err(format!(
        "{bytes} bytes are not a {element} tensor {shape:?}: {}",
        needed.map_or("no memory holds it".into(), |needed| format!("it has {needed}"))
    ))
}

/// The elements, copied once to where they are aligned.
#[cfg(target_endian = "little")]
fn elements<T: AnyBitPattern>(bytes: &[u8]) -> Vec<T> {
    bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()
}

/// A tensor whose bytes come one chunk after another.
#[derive(Debug)]
pub(crate) struct Coming {
    shape: Vec<usize>,
    data: Box<dyn Growing>,
    /// So many bytes are there, of so many.
    have: usize,
    size: usize,
}

impl Coming {
    /// Takes memory for all of its bytes, but touches none of it before they come.
    ///
    /// # Errors
    /// If they are not as many as the shape needs, or if there is no memory.
    pub(crate) fn new(element: ElementType, shape: Vec<usize>, size: usize) -> Result<Self, Fault> {
        fit(element, &shape, size).map_err(Fault::invalid)?;
        let data = of_type!(element, T => Ok(room::<T>(size))).map_err(Fault::invalid)?;
        let data = data.map_err(|error| {
            let error = format!("no memory for its {size} bytes: {error}");
            Fault::new(Reason::MemoryPressure, error)
        })?;
        Ok(Self { shape, data, have: 0, size })
    }

    /// Takes what is its own from the front of the bytes, and gives back the others.
    pub(crate) fn take<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let (own, others) = bytes.split_at(bytes.len().min(self.size - self.have));
        self.data.append(self.have, own);
        self.have += own.len();
        others
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.have == self.size
    }

    /// # Errors
    /// If it is not whole.
    pub(crate) fn tensor(self) -> Result<AnyTensor, String> {
        self.data.tensor(self.shape)
    }
}

/// The elements of such a tensor, as far as they have come.
trait Growing: fmt::Debug + Send {
    /// Takes more bytes; so many are there.
    fn append(&mut self, have: usize, bytes: &[u8]);
    fn tensor(self: Box<Self>, shape: Vec<usize>) -> Result<AnyTensor, String>;
}

fn room<T: AnyElement + AnyBitPattern + NoUninit>(
    size: usize,
) -> Result<Box<dyn Growing>, TryReserveError> {
    let mut elements = Vec::<T>::new();
    elements.try_reserve_exact(size / size_of::<T>())?;
    Ok(Box::new(elements))
}

#[cfg(target_endian = "little")]
impl<T: AnyElement + AnyBitPattern + NoUninit> Growing for Vec<T> {
    /// (Zeros are put under an element that a chunk has a part of, and nowhere else: to write all memory twice
    /// would cost as much as the copy.)
    fn append(&mut self, have: usize, bytes: &[u8]) {
        let size = size_of::<T>();
        let begun = self.len() * size - have;
        let (end, others) = bytes.split_at(begun.min(bytes.len()));
        bytemuck::cast_slice_mut::<T, u8>(self)[have..have + end.len()].copy_from_slice(end);
        let elements = others.chunks_exact(size);
        let front = elements.remainder();
        self.extend(elements.map(bytemuck::pod_read_unaligned::<T>));
        if !front.is_empty() {
            self.push(T::zeroed());
            let have = have + end.len() + others.len() - front.len();
            bytemuck::cast_slice_mut::<T, u8>(self)[have..have + front.len()]
                .copy_from_slice(front);
        }
    }

    fn tensor(self: Box<Self>, shape: Vec<usize>) -> Result<AnyTensor, String> {
        tensor(shape, *self)
    }
}

#[cfg(not(target_endian = "little"))]
compile_error!("tensors cross the network as they lie in memory, which has to be little-endian");

fn tensor<T: AnyElement>(shape: Vec<usize>, data: Vec<T>) -> Result<AnyTensor, String> {
    Tensor::new(shape, data).map(AnyTensor::from).map_err(|error| error.to_string())
}

/// The bytes of a tensor, little-endian.
pub(crate) fn bytes(tensor: &AnyTensor) -> &[u8] {
    with_tensor!(tensor, tensor => bytemuck::cast_slice(tensor.as_slice()))
}

/// Reads the elements of a tensor of that type and shape.
pub(crate) struct Elements {
    pub(crate) element: ElementType,
    pub(crate) shape: Vec<usize>,
}

impl<'de> DeserializeSeed<'de> for Elements {
    type Value = AnyTensor;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<AnyTensor, D::Error> {
        let Self { element, shape } = self;
        let volume =
            volume(&shape).ok_or_else(|| de::Error::custom("no memory holds its shape"))?;
        let read = of_type!(element, T => tensor(shape, flat::<T, D>(deserializer, volume)?));
        read.map_err(de::Error::custom)
    }
}

fn flat<'de, T: Number, D: Deserializer<'de>>(
    deserializer: D,
    volume: usize,
) -> Result<Vec<T>, D::Error> {
    // What is said to come need not come: memory is taken for a moderate number of elements at once.
    let mut elements = Vec::with_capacity(volume.min(1 << 16));
    let depth = 0;
    deserializer.deserialize_any(Flat { elements: &mut elements, volume, depth })?;
    Ok(elements)
}

/// A number, or an array of such.
struct Flat<'a, T> {
    elements: &'a mut Vec<T>,
    volume: usize,
    depth: usize,
}

impl<T: Number> Flat<'_, T> {
    fn push<E: de::Error>(self, number: Option<T>, text: impl fmt::Display) -> Result<(), E> {
        let number = number.ok_or_else(|| {
            let at = self.elements.len();
            E::custom(format_args!("element {at}: {text} is not a {}", T::TYPE))
        })?;
        if self.elements.len() == self.volume {
            return Err(E::custom(format_args!(
                "more elements than the {} of its shape",
                self.volume
            )));
        }
        self.elements.push(number);
        Ok(())
    }
}

impl<'de, T: Number> DeserializeSeed<'de> for Flat<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Number> Visitor<'de> for Flat<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "numbers, or arrays of them")
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<(), E> {
        self.push(T::from_float(number), format_args!("{number:?}"))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<(), E> {
        self.push(T::from_unsigned(number), number)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<(), E> {
        self.push(T::from_signed(number), number)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        let Flat { elements, volume, depth } = self;
        if depth == DEEPEST {
            return Err(de::Error::custom(format_args!("arrays more than {DEEPEST} deep")));
        }
        while array.next_element_seed(Flat { elements, volume, depth: depth + 1 })?.is_some() {}
        Ok(())
    }
}

/// An element as JSON has it.
trait Number: AnyElement {
    /// `None` where a fraction is not allowed, or where none as large is known. (JSON has no infinite numbers.)
    fn from_float(number: f64) -> Option<Self>;
    fn from_unsigned(number: u64) -> Option<Self>;
    fn from_signed(number: i64) -> Option<Self>;
}

macro_rules! whole {
    ($($kind:ty),*) => {$(
        impl Number for $kind {
            fn from_float(_: f64) -> Option<Self> {
                None
            }

            fn from_unsigned(number: u64) -> Option<Self> {
                Self::try_from(number).ok()
            }

            fn from_signed(number: i64) -> Option<Self> {
                Self::try_from(number).ok()
            }
        }
    )*};
}

whole!(u8, u16, u32, u64, i8, i16, i32, i64);

macro_rules! fractional {
    ($($kind:ty),*) => {$(
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "rounding to the type asked for is meant"
        )]
        impl Number for $kind {
            fn from_float(number: f64) -> Option<Self> {
                Some(number as Self).filter(|rounded| rounded.is_finite())
            }

            fn from_unsigned(number: u64) -> Option<Self> {
                Some(number as Self)
            }

            fn from_signed(number: i64) -> Option<Self> {
                Some(number as Self)
            }
        }
    )*};
}

fractional!(f32, f64);

/// The elements as a flat array. JSON has no infinite numbers and none that are not numbers: they are null.
pub(crate) struct Data<'a>(pub(crate) &'a AnyTensor);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        with_tensor!(self.0, tensor => tensor.as_slice().serialize(serializer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ElementType::{F32, F64, I8, U8, U64};
    use proptest::prelude::*;

    fn read(element: ElementType, shape: &[usize], text: &str) -> Result<AnyTensor, String> {
        let seed = Elements { element, shape: shape.to_vec() };
        let mut json = serde_json::Deserializer::from_str(text);
        seed.deserialize(&mut json).map_err(|error| error.to_string())
    }

    #[test]
    fn flat_and_nested_numbers_are_the_same_tensor() {
        let expected =
            Ok(AnyTensor::from(Tensor::new([2, 2], vec![1.0f32, -2.5, 3e10, 0.0]).unwrap()));
        assert_eq!(read(F32, &[2, 2], "[1, -2.5, 3e10, 0]"), expected);
        assert_eq!(read(F32, &[2, 2], "[[1.0, -2.5], [3e10, 0]]"), expected);
        assert_eq!(
            read(F32, &[], "7"),
            Ok(AnyTensor::from(Tensor::new([], vec![7.0f32]).unwrap()))
        );
        assert_eq!(read(F32, &[0], "[]"), Ok(AnyTensor::from(Tensor::<f32>::zeros([0]))));
        let large = read(U64, &[1], &format!("[{}]", u64::MAX)).unwrap();
        assert_eq!(large, AnyTensor::from(Tensor::from(vec![u64::MAX])));
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let error = |element, shape: &[usize], text| read(element, shape, text).unwrap_err();
        for (element, shape, text, part) in [
            (U8, &[1][..], "[256]", "256 is not a UINT8"),
            (I8, &[1], "[-129]", "-129 is not a INT8"),
            (U8, &[1], "[1.5]", "1.5 is not a UINT8"),
            (F32, &[3], "[1, -1e39, 2]", "element 1: -1e39 is not a FP32"),
            (F64, &[1], "[1e309]", "number out of range"),
            (F32, &[1], "[\"1\"]", "expected numbers"),
            (F32, &[1], "[true]", "expected numbers"),
            (F32, &[1], "[null]", "expected numbers"),
            (F32, &[1], "[1, 2]", "more elements than the 1"),
            (F32, &[3], "[1, 2]", "2 elements do not make the shape [3]"),
            (F32, &[usize::MAX, 2], "[1]", "no memory holds its shape"),
        ] {
            let error = error(element, shape, text);
            assert!(error.contains(part), "{error}");
        }
        let deep = format!("{}1{}", "[".repeat(17), "]".repeat(17));
        assert!(error(F32, &[1], &deep).contains("more than 16 deep"));
    }

    #[test]
    fn bytes_are_taken_wherever_they_lie() {
        let numbers = Tensor::from(vec![1.0f32, f32::NAN, -0.0]);
        let mut packed = vec![0u8];
        packed.extend_from_slice(bytes(&AnyTensor::from(numbers)));
        let AnyTensor::F32(read) = from_bytes(F32, vec![3], &packed[1..]).unwrap() else {
            unreachable!("its type was asked for")
        };
        assert!(read.as_slice()[1].is_nan());
        let error = from_bytes(F32, vec![3], &packed).unwrap_err();
        assert_eq!(error, "13 bytes are not a FP32 tensor [3]: it has 12");
        assert!(
            from_bytes(F32, vec![usize::MAX, 2], &[]).unwrap_err().contains("no memory holds it")
        );
    }

    #[test]
    fn memory_that_there_is_not_is_refused() {
        let error = |shape, size| Coming::new(U8, shape, size).unwrap_err();
        let most = isize::MAX as usize;
        assert_eq!(error(vec![most], most).reason, Reason::MemoryPressure);
        assert_eq!(error(vec![most], 1).reason, Reason::Invalid);
    }

    #[test]
    fn elements_are_written_so_that_they_are_read_as_they_were() {
        let tensor = AnyTensor::from(Tensor::from(vec![0.1f32, 1.0, f32::INFINITY]));
        assert_eq!(serde_json::to_string(&Data(&tensor)).unwrap(), "[0.1,1.0,null]");
        let precise = AnyTensor::from(Tensor::from(vec![0.1f64 + 0.2]));
        let text = serde_json::to_string(&Data(&precise)).unwrap();
        assert_eq!(read(ElementType::F64, &[1], &text), Ok(precise));
    }

    /// Numbers as clients write them (Python an FP32 with the digits of an FP64), and at the edges of what a number can be.
    fn number() -> impl Strategy<Value = String> {
        let edges = [
            "-0",
            "-0.0",
            "5e-324",
            "2e-324",
            "2.2250738585072011e-308",
            "1.7976931348623157e308",
            "1e309",
            "-1e-400",
            "9007199254740993",
            "18446744073709551616",
            "-9223372036854775809",
        ];
        prop_oneof![
            any::<f64>().prop_map(|number| format!("{number:?}")),
            any::<f32>().prop_map(|number| format!("{:?}", f64::from(number))),
            "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?",
            prop::sample::select(edges.to_vec()).prop_map(str::to_owned),
        ]
    }

    proptest! {
        #[test]
        fn numbers_are_read_bit_for_bit(text in number()) {
            let exact = text.parse().ok().filter(|number: &f64| number.is_finite());
            let read = match read(ElementType::F64, &[1], &format!("[{text}]")) {
                Ok(AnyTensor::F64(tensor)) => Some(tensor.as_slice()[0]),
                _ => None,
            };
            prop_assert_eq!(read.map(f64::to_bits), exact.map(f64::to_bits));
        }
    }
}
