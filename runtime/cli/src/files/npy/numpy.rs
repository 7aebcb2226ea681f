//! Our files against NumPy's own. Skipped, and said so, where there is no NumPy: `PYTHON` says which
//! Python has it, if `python3` does not.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use rustkernel_core::kernel::AnyTensor;

use super::{Header, TYPES, read, write};

/// Saves the numbers from 0 on in every type, order and byte order, in three shapes and in none.
const SAVE: &str = "
import numpy, sys
for code in sys.argv[1:]:
    for order in 'CF':
        for ends in '<>':
            for shape in [(), (5,), (2, 3), (2, 3, 4)]:
                count = int(numpy.prod(shape))
                array = numpy.arange(count).reshape(shape).astype(ends + code)
                array = numpy.asarray(array, order=order)
                numpy.save(f'{code}-{order}-{\"lb\"[ends == \">\"]}-{len(shape)}.npy', array)
";

/// Checks what was written: the same numbers, row-major.
const CHECK: &str = "
import numpy, pathlib
for path in pathlib.Path('.').glob('*.npy'):
    ours, theirs = numpy.load('ours/' + path.name), numpy.load(path)
    assert ours.dtype == theirs.dtype.newbyteorder('='), path
    assert ours.flags.c_contiguous and numpy.array_equal(ours, theirs), path
";

fn python(folder: &Path, script: &str) -> std::process::Output {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let mut command = Command::new(python);
    command.args(["-c", script]).args(TYPES.map(|(_, code)| code)).current_dir(folder);
    command.output().expect("python3 starts")
}

fn has_numpy(folder: &Path) -> bool {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let import = Command::new(python).args(["-c", "import numpy"]).current_dir(folder).output();
    import.is_ok_and(|output| output.status.success())
}

#[test]
fn numpy_reads_what_we_write_and_we_read_what_it_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    if !has_numpy(path) {
        eprintln!("SKIPPED: there is no NumPy here (PYTHON names a Python that has it)");
        return;
    }
    let done = |script| {
        let output = python(path, script);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    done(SAVE);
    std::fs::create_dir(path.join("ours")).unwrap();
    let mut files = 0;
    for entry in std::fs::read_dir(path).unwrap().map(Result::unwrap) {
        if entry.path().is_file() {
            let tensor = load(&entry.path());
            let mut ours = File::create(path.join("ours").join(entry.file_name())).unwrap();
            write(&tensor, &mut ours).unwrap();
            files += 1;
        }
    }
    assert_eq!(files, TYPES.len() * 2 * 2 * 4);
    done(CHECK);
}

fn load(path: &Path) -> AnyTensor {
    let mut file = File::open(path).unwrap();
    let header = Header::read(&mut file).unwrap();
    read(header, file, None).unwrap()
}
