//! Files made by hand, byte by byte, and files that no program would make.

use std::io::Cursor;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rustkernel_core::kernel::{AnyElement, AnyTensor, Tensor};

use super::*;

/// A file: magic, version, a header's text, data.
fn file(version: [u8; 2], text: &str, data: &[u8]) -> Vec<u8> {
    let length = text.len().to_le_bytes();
    let length = if version == [1, 0] { &length[..2] } else { &length[..4] };
    [MAGIC.as_slice(), &version, length, text.as_bytes(), data].concat()
}

fn plain(descr: &str, fortran_order: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let order = if fortran_order { "True" } else { "False" };
    file(
        [1, 0],
        &format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n"),
        data,
    )
}

/// Reads a file twice: as a file of known length, and as what comes out of a pipe.
fn parse(bytes: &[u8]) -> Result<AnyTensor, NpyError> {
    let open = |known: bool| {
        let mut source = Cursor::new(bytes);
        let header = Header::read(&mut source)?;
        let left = bytes.len() as u64 - source.position();
        read(header, source, known.then_some(left))
    };
    let (file, pipe) = (open(true), open(false));
    let text = |result: &Result<AnyTensor, NpyError>| match result {
        Ok(tensor) => format!("{tensor:?}"),
        Err(error) => error.to_string(),
    };
    assert_eq!(text(&file), text(&pipe), "a file and a pipe are read alike");
    file
}

fn error(bytes: &[u8]) -> String {
    parse(bytes).unwrap_err().to_string()
}

fn written(tensor: impl Into<AnyTensor>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&tensor.into(), &mut bytes).unwrap();
    bytes
}

/// Reads the values in both byte orders and writes them in one.
fn both_byte_orders<T: AnyElement>(
    code: &str,
    values: &[T],
    bytes: impl Fn(&T) -> (Vec<u8>, Vec<u8>),
) {
    let (little, big): (Vec<_>, Vec<_>) = values.iter().map(bytes).unzip();
    let (little, big) = (little.concat(), big.concat());
    let shape = format!("({},)", values.len());
    let tensor = AnyTensor::from(Tensor::from(values.to_vec()));
    assert_eq!(parse(&plain(&format!("<{code}"), false, &shape, &little)).unwrap(), tensor);
    assert_eq!(parse(&plain(&format!(">{code}"), true, &shape, &big)).unwrap(), tensor);
    assert_eq!(written(tensor)[128..], little);
}

#[test]
fn every_element_type_is_read_in_both_byte_orders() {
    macro_rules! check {
        ($($code:literal: $kind:ident $values:expr),*) => {$(
            both_byte_orders::<$kind>($code, &$values, |value| {
                (value.to_le_bytes().into(), value.to_be_bytes().into())
            });
        )*};
    }
    check!(
        "u1": u8 [0, 1, 200, u8::MAX], "u2": u16 [0, 0x1234, u16::MAX],
        "u4": u32 [0, 0x1234_5678, u32::MAX], "u8": u64 [0, 0x0123_4567_89ab_cdef, u64::MAX],
        "i1": i8 [i8::MIN, -1, 0, i8::MAX], "i2": i16 [i16::MIN, -2, i16::MAX],
        "i4": i32 [i32::MIN, -3, i32::MAX], "i8": i64 [i64::MIN, -4, i64::MAX],
        "f4": f32 [0.1, -0.0, f32::INFINITY, f32::MIN_POSITIVE], "f8": f64 [0.1, -1e300, f64::MAX]
    );
}

#[test]
fn a_file_is_written_as_numpy_writes_it() {
    let bytes = written(Tensor::new([2, 1], vec![1.0f32, -2.0]).unwrap());
    let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }";
    let header = format!("{text}{}\n", " ".repeat(128 - 10 - text.len() - 1));
    assert_eq!(bytes[..10], *b"\x93NUMPY\x01\x00\x76\x00");
    assert_eq!(str::from_utf8(&bytes[10..128]).unwrap(), header);
    assert_eq!(bytes[128..], [0, 0, 128, 63, 0, 0, 0, 192]);
    let text = |shape: &[usize]| {
        let bytes = written(Tensor::<u8>::zeros(shape));
        String::from_utf8_lossy(&bytes[10..]).split(", }").next().unwrap().to_owned()
    };
    assert!(text(&[]).ends_with("'|u1', 'fortran_order': False, 'shape': ()"));
    assert!(text(&[3]).ends_with("'shape': (3,)"), "a tuple of one needs its comma");
}

#[test]
fn dimensions_in_fortran_order_are_exchanged() {
    // The columns of [[1, 2, 3], [4, 5, 6]], one after the other.
    let tensor = parse(&plain("|u1", true, "(2, 3)", &[1, 4, 2, 5, 3, 6])).unwrap();
    assert_eq!(tensor, Tensor::new([2, 3], vec![1u8, 2, 3, 4, 5, 6]).unwrap().into());
    for shape in [&[][..], &[5], &[1, 1], &[40, 70], &[3, 4, 5], &[2, 3, 1, 4, 33], &[3, 0, 2]] {
        check_fortran(shape);
    }
}

/// Against the definition: element (i, j, …) lies at i + j · shape[0] + ….
fn check_fortran(shape: &[usize]) {
    let count: usize = shape.iter().product();
    let mut columns = vec![0u8; count * 2];
    for place in 0..count {
        let (mut rest, mut stride, mut column_place) = (place, count, 0);
        for length in shape.iter().rev() {
            stride /= length;
            column_place += rest % length * stride;
            rest /= length;
        }
        columns[column_place * 2..][..2].copy_from_slice(&(place as u16).to_le_bytes());
    }
    let lengths: Vec<String> = shape.iter().map(|length| format!("{length},")).collect();
    let read = parse(&plain("<u2", true, &format!("({})", lengths.concat()), &columns)).unwrap();
    let rows: Vec<u16> = (0..count as u16).collect();
    assert_eq!(read, Tensor::new(shape, rows).unwrap().into(), "{shape:?}");
}

#[test]
fn headers_are_read_however_they_are_written() {
    let one = AnyTensor::from(Tensor::from(vec![7u8]));
    let plain = "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), }";
    for text in [
        plain,
        "{'descr':'|u1','fortran_order':False,'shape':(1,)}",
        "{\"shape\": (1L,), \"fortran_order\": True, \"descr\": \"<u1\"}   \n",
        " { 'descr' : 'u1' , 'fortran_order' : False , 'shape' : ( 1 , ) , } ",
        "{'descr': '=u1', 'fortran_order': False, 'shape': (1), }",
    ] {
        assert_eq!(parse(&file([1, 0], text, &[7])).unwrap(), one, "{text}");
    }
    assert_eq!(parse(&file([2, 0], plain, &[7])).unwrap(), one);
    assert_eq!(parse(&file([3, 0], plain, &[7])).unwrap(), one);
    let scalar = parse(&super::tests::plain("<f8", false, "()", &[0; 8])).unwrap();
    assert_eq!(scalar.shape(), [0usize; 0]);
}

#[test]
fn files_that_are_not_sound_are_refused_with_the_reason() {
    let with = |text: &str| error(&file([1, 0], text, &[]));
    assert_eq!(error(b""), "is cut short: it ends within its header");
    assert_eq!(error(b"PK\x03\x04 a zip file"), "is not an .npy file");
    assert_eq!(
        error(b"\x93NUMPY\x01\x00\x80\x00{'descr"),
        "is cut short: it ends within its header"
    );
    assert_eq!(
        error(&file([4, 0], "", &[])),
        "is of version 4.0 of the .npy format; 1.0, 2.0 and 3.0 are known"
    );
    assert_eq!(
        error(b"\x93NUMPY\x02\x00\xff\xff\xff\xff"),
        "has a malformed header: it is 4294967295 bytes long"
    );
    assert_eq!(
        error(&plain("<u4", false, "(2,)", &[0; 7])),
        "is cut short: its header promises 8 bytes of data, and 7 follow"
    );
    assert_eq!(
        error(&plain("<u4", false, "(2,)", &[0; 9])),
        "goes on after the 8 bytes of data that its header promises"
    );
    assert_eq!(with("\x00\x01"), "has a malformed header: `{` is expected before `\\0\\u{1}`");
    assert_eq!(with("{'descr': '<f4'}"), "has a malformed header: it has no `fortran_order`");
    assert_eq!(with("{'order': 'C'}"), "has a malformed header: it has the key `order`");
    assert_eq!(
        with("{'descr': '<f4', 'fortran_order': 0, 'shape': ()}"),
        "has a malformed header: `fortran_order` is neither True nor False"
    );
    assert_eq!(
        with("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}"),
        "has a malformed header: a length is expected before `-1,)}`"
    );
    assert_eq!(
        with("{'descr': '|f4', 'fortran_order': False, 'shape': ()}"),
        "has a malformed header: `|f4` has no byte order"
    );
    let many = "1,".repeat(65);
    assert_eq!(
        with(&format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({many})}}")),
        "has a malformed header: it has more than 64 dimensions"
    );
    let nested = "(".repeat(60_000);
    assert!(with(&format!("{{'shape': {nested}")).starts_with("has a malformed header"));
}

#[test]
fn types_that_tensors_do_not_have_are_named() {
    for (descr, what) in [
        ("|O", "Python objects (`|O`)"),
        ("<c8", "complex numbers (`<c8`)"),
        ("|b1", "truth values (`|b1`)"),
        ("<f2", "floating-point numbers of another size (`<f2`)"),
        ("<U3", "texts (`<U3`)"),
        ("<M8[ns]", "dates or times (`<M8[ns]`)"),
        ("|V4", "raw bytes (`|V4`)"),
        ("", "elements of an unknown type (``)"),
    ] {
        assert_eq!(error(&plain(descr, false, "(1,)", &[0])), format!("holds {what}"));
    }
    let records = "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}";
    assert_eq!(error(&file([1, 0], records, &[0; 4])), "holds records (a structured type)");
}

#[test]
fn a_shape_that_no_memory_holds_is_refused_before_any_is_taken() {
    let claims = |shape: &str| error(&plain("<f8", false, shape, &[0; 8]));
    let too_large = "claims a size that no memory has: ";
    assert!(claims("(9223372036854775807, 16, 3)").starts_with(too_large), "overflows a product");
    assert!(claims("(99999999999999999999,)").starts_with(too_large), "overflows a length");
    assert!(claims("(1152921504606846975,)").contains("is cut short"), "fits, but is not there");
    assert!(claims("(0, 9223372036854775807, 16)").contains("goes on after the 0 bytes"));
}

/// The most memory that this process has had, in bytes, where the system says.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// Files that are almost sound, which finds more than noise does.
fn seeds() -> Vec<Vec<u8>> {
    vec![
        written(Tensor::new([3, 4], (0..12u8).collect()).unwrap()),
        plain(">f8", true, "(2, 3, 1)", &[1; 48]),
        plain("<i2", false, "()", &[1, 2]),
        file([2, 0], "{'descr': '<u4', 'fortran_order': True, 'shape': (2, 2)}", &[3; 16]),
        plain("<f4", false, "(0, 100000000000)", &[]),
    ]
}

/// A change to a file: bytes put in the place of others.
fn change() -> impl Strategy<Value = (prop::sample::Index, usize, Vec<u8>)> {
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..4),
        prop::sample::select(vec![
            "9",
            "99999999999",
            "(",
            ")",
            "'",
            "{",
            ",",
            "0",
            ">",
            "f",
            "8",
            "True",
            "L",
            "-"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    (any::<prop::sample::Index>(), 0..4usize, bytes)
}

/// A file that is almost sound: changed in a place or three, and sometimes cut short.
fn almost_sound() -> impl Strategy<Value = Vec<u8>> {
    let seed = prop::sample::select(seeds());
    let changes = prop::collection::vec(change(), 1..4);
    let cut = prop::option::weighted(0.1, any::<prop::sample::Index>());
    (seed, changes, cut).prop_map(|(mut bytes, changes, cut)| {
        for (place, removed, added) in changes {
            let start = place.index(bytes.len() + 1);
            let end = bytes.len().min(start + removed);
            bytes.splice(start..end, added);
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        bytes
    })
}

/// No panic, no memory for what is not there, and what is read can be written and read again.
#[test]
fn whatever_is_in_a_file_does_no_harm() {
    const MUTATIONS: u32 = 40_000;
    let config =
        ProptestConfig { cases: MUTATIONS, failure_persistence: None, ..Default::default() };
    let before = peak_memory();
    let tried = TestRunner::new(config).run(&almost_sound(), |bytes| {
        if let Ok(tensor) = parse(&bytes) {
            prop_assert!(tensor.bytes() <= bytes.len() as u64);
            let again = parse(&written(tensor.clone())).unwrap();
            // (Compared as bytes, because a NaN is not equal to itself.)
            prop_assert_eq!(written(again), written(tensor));
        }
        Ok(())
    });
    tried.unwrap();
    if let (Some(before), Some(after)) = (before, peak_memory()) {
        assert!(after.saturating_sub(before) < 64 << 20, "{before} bytes became {after}");
    }
}
