//! The data: elements in and out, whatever their order in the file.

use std::io::{self, ErrorKind, Read, Write};

use bytemuck::Pod;
use rustkernel_core::gpu::{Element, ElementType};
use rustkernel_core::kernel::{AnyElement, AnyTensor, Tensor, with_tensor};

use super::NpyError;
use super::header::{self, Header};

/// Elements read at first from a source of unknown length, and the least read at a time.
const STEP: usize = 1 << 16;
/// Dimensions are exchanged in squares of this side, of which two fit the nearest cache.
const TILE: usize = 32;

/// Reads the data after `header`. `length` is how many bytes there are, if that is known.
pub(crate) fn read(
    header: Header,
    source: impl Read,
    length: Option<u64>,
) -> Result<AnyTensor, NpyError> {
    match header.element {
        ElementType::U8 => read_as::<u8>(header, source, length),
        ElementType::U16 => read_as::<u16>(header, source, length),
        ElementType::U32 => read_as::<u32>(header, source, length),
        ElementType::U64 => read_as::<u64>(header, source, length),
        ElementType::I8 => read_as::<i8>(header, source, length),
        ElementType::I16 => read_as::<i16>(header, source, length),
        ElementType::I32 => read_as::<i32>(header, source, length),
        ElementType::I64 => read_as::<i64>(header, source, length),
        ElementType::F32 => read_as::<f32>(header, source, length),
        ElementType::F64 => read_as::<f64>(header, source, length),
        other => {
            Err(NpyError::Type { what: "elements of an unknown type", descr: other.to_string() })
        }
    }
}

fn read_as<T: AnyElement + Pod>(
    header: Header,
    source: impl Read,
    length: Option<u64>,
) -> Result<AnyTensor, NpyError> {
    let mut data = elements::<T>(&header, source, length)?;
    if header.big_endian != cfg!(target_endian = "big") {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut data);
        bytes.chunks_exact_mut(size_of::<T>()).for_each(<[u8]>::reverse);
    }
    if header.fortran_order {
        data = row_major(&header.shape, data)?;
    }
    let tensor = Tensor::new(header.shape, data);
    Ok(tensor.expect("invariant: as many elements as the shape makes").into())
}

/// The elements as they lie in the file. Memory is taken as they arrive, or for the whole of a file
/// that has as many bytes as it says.
fn elements<T: Pod>(
    header: &Header,
    mut source: impl Read,
    length: Option<u64>,
) -> Result<Vec<T>, NpyError> {
    let (count, promised) = (header.count(), header.bytes() as u64);
    match length {
        Some(found) if found < promised => return Err(NpyError::Cut { promised, found }),
        Some(found) if found > promised => return Err(NpyError::Trailing { promised }),
        _ => {}
    }
    let mut data = Vec::new();
    let at_once = if length.is_some() { count } else { STEP };
    while data.len() < count {
        let start = data.len();
        let step = start.max(at_once).min(count - start);
        data.try_reserve_exact(step).map_err(|_| NpyError::Memory(promised))?;
        data.resize(start + step, T::zeroed());
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut data[start..]);
        let read = fill(&mut source, bytes)?;
        if read < bytes.len() {
            let found = (start * size_of::<T>() + read) as u64;
            return Err(NpyError::Cut { promised, found });
        }
    }
    match fill(&mut source, &mut [0])? {
        0 => Ok(data),
        _ => Err(NpyError::Trailing { promised }),
    }
}

/// Reads until `bytes` is full or the source ends; how many bytes were read.
fn fill(source: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match source.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Column-major elements in row-major order: the first dimension, next to each other in `source`, and
/// the last, next to each other in the result, are exchanged in tiles; those between lie mirrored.
fn row_major<T: Pod>(shape: &[usize], source: Vec<T>) -> Result<Vec<T>, NpyError> {
    let [rows, between @ .., columns] = shape else { return Ok(source) };
    if source.is_empty() {
        return Ok(source);
    }
    let (rows, columns, planes) = (*rows, *columns, between.iter().product::<usize>());
    let mut target = Vec::new();
    let bytes = size_of_val(source.as_slice()) as u64;
    target.try_reserve_exact(source.len()).map_err(|_| NpyError::Memory(bytes))?;
    target.resize(source.len(), T::zeroed());
    for plane in 0..planes {
        let mirrored = mirrored(plane, between);
        let mut move_one = |row: usize, column: usize| {
            target[(row * planes + plane) * columns + column] =
                source[(column * planes + mirrored) * rows + row];
        };
        for (row, column) in tiles(rows, columns) {
            for row in row..rows.min(row + TILE) {
                (column..columns.min(column + TILE)).for_each(|column| move_one(row, column));
            }
        }
    }
    Ok(target)
}

/// The first row and column of each tile.
fn tiles(rows: usize, columns: usize) -> impl Iterator<Item = (usize, usize)> {
    let starts = move |row| (0..columns).step_by(TILE).map(move |column| (row, column));
    (0..rows).step_by(TILE).flat_map(starts)
}

/// The place in column-major order of what has the place `index` in row-major order.
fn mirrored(mut index: usize, lengths: &[usize]) -> usize {
    let mut stride: usize = lengths.iter().product();
    lengths.iter().rev().fold(0, |place, length| {
        stride /= length;
        let along = index % length;
        index /= length;
        place + along * stride
    })
}

/// Writes a tensor as a file of version 1.0.
pub(crate) fn write(tensor: &AnyTensor, target: &mut dyn Write) -> io::Result<()> {
    let header = header::format(tensor.element_type(), tensor.shape());
    let header = header.ok_or_else(|| io::Error::other("the .npy format cannot hold its shape"))?;
    target.write_all(&header)?;
    with_tensor!(tensor, tensor => write_elements(tensor.as_slice(), target))
}

fn write_elements<T: Element + Pod>(elements: &[T], target: &mut dyn Write) -> io::Result<()> {
    if cfg!(target_endian = "little") {
        return target.write_all(bytemuck::cast_slice(elements));
    }
    elements.iter().try_for_each(|element| target.write_all(&element.to_bytes()[..size_of::<T>()]))
}
