//! Tensors: a shape and elements in row-major order.

use std::fmt;

use rustkernel_gpu::{Element, ElementType, HostBuffer};

/// Elements of one type in row-major (C) order, with a shape.
///
/// A shape without dimensions is one element; a dimension of 0 makes the tensor empty. The elements are on the
/// heap or, as those of a kernel's answer may be, in a block of a pool that is in use until the tensor is dropped;
/// a clone has them on the heap.
#[derive(Clone, PartialEq)]
pub struct Tensor<T: Element> {
    shape: Vec<usize>,
    data: HostBuffer<T>,
}

/// The number of elements is not what the shape makes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{have} elements do not make the shape {shape:?}")]
pub struct ShapeError {
    /// The shape asked for.
    pub shape: Vec<usize>,
    /// The elements given.
    pub have: usize,
}

impl<T: Element> Tensor<T> {
    /// A tensor of that shape over those elements.
    ///
    /// # Errors
    /// [`ShapeError`] if their number is not the product of the shape.
    pub fn new(shape: impl Into<Vec<usize>>, data: Vec<T>) -> Result<Self, ShapeError> {
        Self::from_buffer(shape, data.into())
    }

    /// The same, of elements that may be in a block of a pool.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_buffer(
        shape: impl Into<Vec<usize>>,
        data: HostBuffer<T>,
    ) -> Result<Self, ShapeError> {
        let shape = shape.into();
        if volume(&shape) == Some(data.len()) {
            Ok(Self { shape, data })
        } else {
            Err(ShapeError { shape, have: data.len() })
        }
    }

    /// A tensor of that shape, all zeros.
    ///
    /// # Panics
    /// If the shape has more elements than memory can hold.
    pub fn zeros(shape: impl Into<Vec<usize>>) -> Self {
        let shape = shape.into();
        let count = volume(&shape).expect("the number of elements fits a usize");
        Self { data: vec![T::default(); count].into(), shape }
    }

    /// The length of each dimension.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How many elements.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The size of the elements, in bytes.
    pub fn bytes(&self) -> u64 {
        size_of_val(self.as_slice()) as u64
    }

    /// The type of the elements.
    pub const fn element_type(&self) -> ElementType {
        T::TYPE
    }

    /// The elements, row by row.
    pub fn as_slice(&self) -> &[T] {
        &self.data
    }

    /// The elements, row by row.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.data
    }

    /// The elements, without their shape; those in a block of a pool are copied.
    pub fn into_vec(self) -> Vec<T> {
        self.data.into_vec()
    }

    /// Shape and elements, which are copied as in [`into_vec`](Self::into_vec).
    pub fn into_parts(self) -> (Vec<usize>, Vec<T>) {
        (self.shape, self.data.into_vec())
    }

    /// The same elements in another shape.
    ///
    /// # Errors
    /// [`ShapeError`] if it has another number of elements.
    pub fn reshape(self, shape: impl Into<Vec<usize>>) -> Result<Self, ShapeError> {
        Self::from_buffer(shape, self.data)
    }
}

/// One dimension.
impl<T: Element> From<Vec<T>> for Tensor<T> {
    fn from(data: Vec<T>) -> Self {
        HostBuffer::from(data).into()
    }
}

/// One dimension.
impl<T: Element> From<HostBuffer<T>> for Tensor<T> {
    fn from(data: HostBuffer<T>) -> Self {
        Self { shape: vec![data.len()], data }
    }
}

impl<T: Element> fmt::Debug for Tensor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 6;
        write!(f, "Tensor<{}>{:?} {:?}", T::TYPE, self.shape, &self.data[..self.len().min(SHOWN)])?;
        if self.len() > SHOWN { f.write_str(" …") } else { Ok(()) }
    }
}

fn volume(shape: &[usize]) -> Option<usize> {
    // A zero anywhere makes it empty, also where the other dimensions would overflow.
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1usize, |product, length| product.checked_mul(*length))
}

/// A tensor whose element type is known only at run time.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each variant is the element type of its name")]
pub enum AnyTensor {
    U8(Tensor<u8>),
    U16(Tensor<u16>),
    U32(Tensor<u32>),
    U64(Tensor<u64>),
    I8(Tensor<i8>),
    I16(Tensor<i16>),
    I32(Tensor<i32>),
    I64(Tensor<i64>),
    F32(Tensor<f32>),
    F64(Tensor<f64>),
}

/// Does the same with a tensor of whatever type.
#[macro_export]
macro_rules! with_tensor {
    ($any:expr, $tensor:ident => $body:expr) => {
        match $any {
            $crate::AnyTensor::U8($tensor) => $body,
            $crate::AnyTensor::U16($tensor) => $body,
            $crate::AnyTensor::U32($tensor) => $body,
            $crate::AnyTensor::U64($tensor) => $body,
            $crate::AnyTensor::I8($tensor) => $body,
            $crate::AnyTensor::I16($tensor) => $body,
            $crate::AnyTensor::I32($tensor) => $body,
            $crate::AnyTensor::I64($tensor) => $body,
            $crate::AnyTensor::F32($tensor) => $body,
            $crate::AnyTensor::F64($tensor) => $body,
        }
    };
}

impl AnyTensor {
    /// The length of each dimension.
    pub fn shape(&self) -> &[usize] {
        with_tensor!(self, tensor => tensor.shape())
    }

    /// The type of the elements.
    pub fn element_type(&self) -> ElementType {
        with_tensor!(self, tensor => tensor.element_type())
    }

    /// The size of the elements, in bytes.
    pub fn bytes(&self) -> u64 {
        with_tensor!(self, tensor => tensor.bytes())
    }
}

/// An element type whose tensors an [`AnyTensor`] can hold: all of them.
pub trait AnyElement: Element {
    /// Forgets the type.
    fn erase(tensor: Tensor<Self>) -> AnyTensor;

    /// Remembers the type, if it is this one.
    ///
    /// # Errors
    /// The tensor comes back if it is of another type.
    fn recover(any: AnyTensor) -> Result<Tensor<Self>, AnyTensor>;
}

macro_rules! any_element {
    ($($kind:ty => $variant:ident),*) => {$(
        impl AnyElement for $kind {
            fn erase(tensor: Tensor<Self>) -> AnyTensor {
                AnyTensor::$variant(tensor)
            }

            fn recover(any: AnyTensor) -> Result<Tensor<Self>, AnyTensor> {
                match any {
                    AnyTensor::$variant(tensor) => Ok(tensor),
                    other => Err(other),
                }
            }
        }
    )*};
}

any_element!(u8 => U8, u16 => U16, u32 => U32, u64 => U64, i8 => I8, i16 => I16, i32 => I32, i64 => I64, f32 => F32, f64 => F64);

impl<T: AnyElement> From<Tensor<T>> for AnyTensor {
    fn from(tensor: Tensor<T>) -> Self {
        T::erase(tensor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_and_elements_must_agree() {
        let tensor = Tensor::new([2, 3], vec![1.0f32; 6]).unwrap();
        assert_eq!((tensor.shape(), tensor.len(), tensor.bytes()), (&[2, 3][..], 6, 24));
        assert_eq!(
            tensor.reshape([7]).unwrap_err().to_string(),
            "6 elements do not make the shape [7]"
        );
        assert_eq!(Tensor::new([], vec![1u8]).unwrap().len(), 1, "no dimensions are one element");
        assert!(Tensor::new([0, usize::MAX, 2], Vec::<u8>::new()).unwrap().is_empty());
        assert!(Tensor::new([usize::MAX, 2], vec![0u8]).is_err());
        assert_eq!(
            format!("{:?}", Tensor::from(vec![1u8; 9])),
            "Tensor<UINT8>[9] [1, 1, 1, 1, 1, 1] …"
        );
    }

    #[test]
    fn a_type_forgotten_can_be_remembered() {
        let any = AnyTensor::from(Tensor::from(vec![1i64, 2]));
        assert_eq!((any.element_type().name(), any.shape(), any.bytes()), ("INT64", &[2][..], 16));
        let any = u8::recover(any).unwrap_err();
        assert_eq!(i64::recover(any).unwrap().into_vec(), [1, 2]);
    }
}
