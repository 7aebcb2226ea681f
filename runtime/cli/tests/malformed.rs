//! Files that are not what they should be: each is refused with its place, the reason and a code,
//! without a panic and without memory for what is not there.
#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use support::{Folder, example, f32s, npy};

/// What `x` may be, beside a sound `y` of four numbers.
#[track_caller]
fn refused(folder: &Folder, name: &str, code: i32, reason: &str) {
    let ended = folder.saxpy(&["-i", &format!("x={name}"), "-o", "output=sum.npy"]);
    let expected = format!("error: input `x`: {name} {reason}");
    assert_eq!(ended.code, code, "{}", ended.stderr);
    assert!(ended.stderr.starts_with(&expected), "{expected}\n{}", ended.stderr);
    assert_eq!(ended.stdout, "");
    assert!(!folder.names().contains(&"sum.npy".to_owned()), "a failed call writes nothing");
}

#[track_caller]
fn bytes_are_refused(bytes: &[u8], reason: &str) {
    let folder = Folder::with_vectors();
    folder.write("bad.npy", bytes);
    refused(&folder, "bad.npy", 65, reason);
}

#[test]
fn files_that_cannot_be_read_are_66() {
    let folder = Folder::with_vectors();
    std::fs::create_dir(folder.path("folder.npy")).unwrap();
    refused(&folder, "missing.npy", 66, "cannot be read: No such file or directory");
    refused(&folder, "folder.npy", 66, "cannot be read: Is a directory");
    refused(&folder, "x.npy/inside", 66, "cannot be read: Not a directory");
    refused(&folder, &"n".repeat(5000), 66, "cannot be read: File name too long");
}

#[test]
fn files_that_are_not_npy_are_65() {
    bytes_are_refused(b"", "is empty\n");
    bytes_are_refused(b"1.0, 2.0\n", "is not an .npy file\nhint: numpy.save makes one\n");
    bytes_are_refused(b"\x93NUMPX\x01\x00\x00\x00", "is not an .npy file");
    bytes_are_refused(b"\x93NUMPY\x01", "is cut short: it ends within its header");
    bytes_are_refused(&f32s(&[1.0; 4])[..40], "is cut short: it ends within its header");
    bytes_are_refused(
        &f32s(&[1.0; 4])[..80],
        "is cut short: its header promises 16 bytes of data, and ",
    );
    bytes_are_refused(&[f32s(&[1.0; 4]), vec![0]].concat(), "goes on after the 16 bytes of data");
    bytes_are_refused(
        b"\x93NUMPY\x01\x00\x06\x00{'a':1",
        "has a malformed header: it has the key `a`",
    );
}

#[test]
fn elements_that_do_not_fit_are_65() {
    let hint =
        "it has to be a FP32 tensor [n]\nhint: in NumPy, save `array.astype(numpy.float32)`\n";
    for (descr, what) in [
        ("<i8", "INT64 [1]"),
        ("|O", "Python objects (`|O`)"),
        ("<c8", "complex numbers (`<c8`)"),
        ("<f2", "floating-point numbers of another size (`<f2`)"),
    ] {
        bytes_are_refused(&npy(descr, false, "(1,)", &[0; 8]), &format!("holds {what}; {hint}"));
    }
    let records = b"\x93NUMPY\x01\x00\x3f\x00{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}";
    bytes_are_refused(records, &format!("holds records (a structured type); {hint}"));
}

#[test]
fn shapes_that_do_not_fit_are_65() {
    let matrix = npy("<f4", false, "(2, 2)", &[0; 16]);
    bytes_are_refused(&matrix, "has the shape [2, 2]; it has to be [n]\n");
    bytes_are_refused(&npy("<f4", false, "()", &[0; 4]), "has the shape []; it has to be [n]\n");
    let folder = Folder::with_vectors();
    folder.write("short.npy", &f32s(&[1.0; 3]));
    let ended = folder.saxpy(&["-i", "x=short.npy"]);
    let expected =
        "error: input `y`: y.npy has the shape [4]; it has to be [n], and n is 3 by `x`\n";
    assert_eq!((ended.code, ended.stderr.as_str()), (65, expected));
}

#[test]
fn a_claim_of_a_huge_shape_takes_no_memory() {
    let folder = Folder::with_vectors();
    folder.write("tera.npy", &npy("<f4", false, "(1099511627776,)", &[0; 16]));
    folder.write("max.npy", &npy("<f4", false, "(9223372036854775807, 9223372036854775807)", &[]));
    let mut header = b"\x93NUMPY\x02\x00\xf0\xff\xff\xff".to_vec();
    header.resize(64, b' ');
    folder.write("header.npy", &header);
    let within = |file: &str| {
        let call = "exec $RUSTKERNEL call saxpy -p a=1";
        folder.shell(&format!("ulimit -v 2000000; {call} -i x={file} -i y={file}"))
    };
    let cut = "is cut short: its header promises 4398046511104 bytes of data, and 16 follow";
    for (file, reason) in [
        ("tera.npy", cut),
        ("<(cat tera.npy)", cut),
        ("max.npy", "claims a size that no memory has: [9223372036854775807, 9223372036854775807]"),
        ("header.npy", "has a malformed header: it is 4294967280 bytes long"),
        ("/dev/zero", "is not an .npy file"),
    ] {
        let ended = within(file);
        assert_eq!(ended.code, 65, "{file}: {}", ended.stderr);
        assert!(ended.stderr.contains(reason), "{}", ended.stderr);
    }
    assert_eq!(within("x.npy").code, 0, "sound files are read within that much");
}

#[test]
fn a_picture_is_not_read_as_a_vector() {
    let folder = Folder::with_vectors();
    std::fs::copy(example("chelsea.png"), folder.path("cat.png")).unwrap();
    refused(&folder, "cat.png", 65, "is a PNG picture; it has to be a FP32 tensor [n]\n");
}

#[test]
fn pictures_that_are_not_sound_are_65() {
    let folder = Folder::new();
    let cat = std::fs::read(example("chelsea.png")).unwrap();
    // Its header, as the format has it, but of 16 bits a channel; and with a checksum to match.
    let mut deep = cat[..33].to_vec();
    deep[24] = 16;
    let checksum = crc32(&deep[12..29]).to_be_bytes();
    deep[29..].copy_from_slice(&checksum);
    let deep = [&deep, &cat[33..]].concat();
    for (name, bytes, reason) in [
        (
            "text.png",
            b"not a picture".as_slice(),
            "is neither a picture (PNG, JPEG, BMP, PNM) nor an .npy file",
        ),
        ("empty.png", b"", "is empty"),
        ("cut.png", &cat[..1000], "is no sound PNG picture: "),
        ("header.png", &cat[..20], "is no sound PNG picture: "),
        ("deep.png", &deep, "has Rgb16 as its colours; 8 bits a channel are needed\nhint: "),
        ("gif.png", b"GIF89a\x01\x00\x01\x00\x00\x00\x00", "is neither a picture"),
    ] {
        folder.write(name, bytes);
        let ended = folder.run(&["call", "sobel", "-i", &format!("image={name}")]);
        let expected = format!("error: input `image`: {name} {reason}");
        assert_eq!(ended.code, 65, "{}", ended.stderr);
        assert!(ended.stderr.starts_with(&expected), "{expected}\n{}", ended.stderr);
    }
}

/// PNG's checksum, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}
