//! `libfake_cuda.so`, and whole processes: what only shows from outside.

use std::ffi::{CString, c_int, c_void};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

use fake_cuda::Ledger;

use crate::support::*;

/// Builds the library, once.
fn library() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        // (beside this test's own target folder there may be another cargo at work)
        let test = std::env::current_exe().unwrap();
        let target = test.ancestors().nth(3).unwrap();
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/so/Cargo.toml");
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--manifest-path", manifest, "--target-dir"])
            .arg(target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .unwrap();
        assert!(built.success());
        target.join("debug/libfake_cuda.so")
    };
    BUILT.get_or_init(build).clone()
}

#[test]
fn the_library_has_the_drivers_names_and_no_others() {
    // SAFETY: the library is this workspace's own.
    let library = unsafe { libloading::Library::new(library()).unwrap() };
    for name in fake_cuda::ENTRY_POINTS {
        let symbol = CString::new(*name).unwrap();
        // SAFETY: only the address is looked at.
        let found = unsafe { library.get::<*mut c_void>(symbol.as_bytes_with_nul()) };
        assert!(found.is_ok(), "{name}");
    }
    // SAFETY: as above.
    assert!(unsafe { library.get::<*mut c_void>(b"cuTexObjectCreate\0") }.is_err());
    // SAFETY: the driver's signatures.
    let count = unsafe {
        let init = library.get::<unsafe extern "C" fn(u32) -> u32>(b"cuInit\0").unwrap();
        let count =
            library.get::<unsafe extern "C" fn(*mut c_int) -> u32>(b"cuDeviceGetCount\0").unwrap();
        let mut devices = 0;
        assert_eq!((init(0), count(&mut devices)), (0, 0));
        devices
    };
    assert_eq!(count, 1, "its devices are not those of this process's driver");
    // (its threads and its work at exit must not lose their code)
    std::mem::forget(library);
}

/// Runs one of the tests below, which do nothing by themselves, in a process of its own with the
/// library for its driver.
fn child(test: &str, variables: &[(&str, &str)]) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("CUDA_DRIVER_LIBRARY", library())
        .env("FAKE_CUDA_TEST_CHILD", "1")
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

fn is_child() -> bool {
    std::env::var_os("FAKE_CUDA_TEST_CHILD").is_some()
}

#[test]
fn in_child_saxpy() {
    if !is_child() {
        return;
    }
    let result = cust::init(cust::CudaFlags::empty());
    if result.is_err() {
        println!("init failed");
        return;
    }
    let context = context_of(0);
    let module = module(MEMORY_KERNELS);
    let (x, y) = (buffer(&[1f32; 100]), buffer(&[2f32; 100]));
    let (a, px, py, n) = (3f32, x.as_device_ptr(), y.as_device_ptr(), 100u32);
    ok(try_launch(&module, "saxpy", line(100), args![a, px, py, n]));
    // SAFETY: no arguments.
    let end = code(unsafe { cust::sys::cuCtxSynchronize() });
    println!("driver {}, result {end}", rustkernel_driver::location().unwrap());
    if end == 0 {
        assert_eq!(read(&y), [5f32; 100]);
    }
    let leak = std::env::var_os("FAKE_CUDA_TEST_LEAK").is_some();
    if leak {
        std::mem::forget((x, context));
    }
}

#[test]
fn a_program_runs_on_the_library_and_its_books_are_written() {
    if is_child() {
        return;
    }
    let file = std::env::temp_dir().join(format!("fake-cuda-ledger-{}.json", std::process::id()));
    let books = || -> Vec<Ledger> {
        serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap()
    };
    let variables = [("FAKE_CUDA_LEDGER", file.to_str().unwrap()), ("FAKE_CUDA_DEVICES", "2")];
    let output = child("library::in_child_saxpy", &variables);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("libfake_cuda.so, result 0"), "{text}");
    let ledgers = books();
    assert_eq!(ledgers.len(), 2);
    assert!(ledgers.iter().all(Ledger::is_settled), "{ledgers:?}");
    assert_eq!((ledgers[0].peak_device_bytes, ledgers[0].launches["saxpy"]), (870, 1));
    // the same program with a leak
    let leaking = [&variables[..], &[("FAKE_CUDA_TEST_LEAK", "1")]].concat();
    assert!(child("library::in_child_saxpy", &leaking).status.success());
    let leaked = &books()[0];
    assert!(!leaked.is_settled());
    assert_eq!((leaked.allocation_bytes, leaked.contexts_retained), (400, 1));
    std::fs::remove_file(file).unwrap();
}

#[test]
fn the_environment_injects_faults() {
    if is_child() {
        return;
    }
    let faulty = [
        ("FAKE_CUDA_FAULTS", "cuMemAlloc_v2@99=2; launch saxpy@1=700"),
        ("FAKE_CUDA_VERBOSE", "1"),
    ];
    let output = child("library::in_child_saxpy", &faulty);
    assert!(String::from_utf8_lossy(&output.stdout).contains("result 700"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("saxpy: injected fault 700"));
    // what cannot be understood must not pass for "no faults"
    for malformed in ["launch saxpy", "cuMemAllok=2", "launch saxpy@x=700"] {
        let output = child("library::in_child_saxpy", &[("FAKE_CUDA_FAULTS", malformed)]);
        assert!(String::from_utf8_lossy(&output.stdout).contains("init failed"), "{malformed}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("FAKE_CUDA_FAULTS") && said.contains(malformed), "{said}");
    }
}

#[test]
fn in_child_queued() {
    if !is_child() {
        return;
    }
    cust::init(cust::CudaFlags::empty()).unwrap();
    let context = context_of(0);
    let module = module(CONTROL);
    let flag = buffer(&[0i32]);
    let pointer = flag.as_device_ptr();
    for _ in 0..10 {
        ok(try_launch(&module, "forever", block(32), args![pointer]));
    }
    // the process ends with all of that in its queue
    std::mem::forget((context, module, flag));
    println!("leaving");
}

#[test]
fn a_process_exits_with_work_in_its_queues() {
    if is_child() {
        return;
    }
    let output = child("library::in_child_queued", &[]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("leaving"));
}

#[test]
fn in_child_limited() {
    if !is_child() {
        return;
    }
    cust::init(cust::CudaFlags::empty()).unwrap();
    let context = context_of(0);
    let module = module(CONTROL);
    let flag = buffer(&[0i32]);
    let pointer = flag.as_device_ptr();
    ok(try_launch(&module, "forever", block(32), args![pointer]));
    // SAFETY: no arguments.
    println!("result {}", code(unsafe { cust::sys::cuCtxSynchronize() }));
    std::mem::forget((context, module, flag));
}

#[test]
fn a_launch_that_never_ends_can_be_limited() {
    if is_child() {
        return;
    }
    let output = child("library::in_child_limited", &[("FAKE_CUDA_INSTRUCTIONS", "1000000")]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("result 702"), "{output:?}");
}

#[test]
fn a_kernel_prints() {
    if is_child() {
        return;
    }
    let output = child("odds::in_child_say", &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("fake-cuda says -7, 2.500,    42|z%"), "{text}");
}
