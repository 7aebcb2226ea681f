//! Modules: what is loaded, what is refused and why, functions and their attributes, launches.

use std::ffi::{CString, c_void};
use std::ptr;

use cust::error::CudaError;
use cust::function::FunctionAttribute;
use cust::module::Module;
use cust::sys;

use crate::support::*;

fn head(version: &str, target: &str) -> String {
    format!(".version {version}\n.target {target}\n.address_size 64\n")
}

/// The code of a load, and the text in its error log.
fn refusal(ptx: &str) -> (u32, String) {
    use sys::CUjit_option::*;
    let text = CString::new(ptx).unwrap();
    let mut log = [0u8; 512];
    let mut module = ptr::null_mut();
    let mut options =
        [CU_JIT_OPTIMIZATION_LEVEL, CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
    let mut values =
        [ptr::without_provenance_mut(3), log.as_mut_ptr().cast(), ptr::without_provenance_mut(512)];
    // SAFETY: as many options as values; the log is as long as it says.
    let code = code(unsafe {
        let text = text.as_ptr().cast();
        sys::cuModuleLoadDataEx(&mut module, text, 3, options.as_mut_ptr(), values.as_mut_ptr())
    });
    if code == 0 {
        // SAFETY: just loaded.
        ok(unsafe { sys::cuModuleUnload(module) });
    }
    let written = values[2] as usize;
    let text = String::from_utf8_lossy(&log[..written.saturating_sub(1)]).into_owned();
    (code, text)
}

#[test]
fn versions_and_targets_are_checked() {
    let _gpu = gpu();
    let empty = ".visible .entry k() { ret; }";
    assert_eq!(refusal(&(head("6.0", "sm_50") + empty)).0, 0);
    assert_eq!(refusal(&(head("8.4", "sm_80") + empty)).0, 0);
    let (code, log) = refusal(&(head("8.5", "sm_80") + empty));
    assert!(code == 222 && log.contains("8.5"), "{code} {log}");
    let (code, log) = refusal(&(head("8.0", "sm_90a") + empty));
    assert!(code == 218 && log.contains("sm_90a"), "{code} {log}");
    assert_eq!(refusal("hello").0, 218);
    assert_eq!(refusal("").0, 218);
    assert_eq!(refusal("\x7fELF").0, 209);
    // a code that `cust` has no name for
    assert_eq!(Module::from_ptx(head("9.0", "sm_80"), &[]).err(), Some(CudaError::UnknownError));
}

#[test]
fn what_is_not_supported_is_named_with_its_line() {
    let _gpu = gpu();
    let body = |line: &str| {
        head("8.0", "sm_80")
            + ".visible .entry k(.param .u64 p)\n{\n.reg .b32 %r<9>; .reg .b64 %rd<9>; .reg .f32 %f<9>; .reg .pred %p<3>;\n"
            + line
            + "\nret;\n}"
    };
    for (line, parts) in [
        (
            "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 %r1, %r2, %r3, %r4;",
            &["mma", "not supported"][..],
        ),
        ("add.bogus.s32 %r1, %r2, %r3;", &["add.bogus.s32", ".bogus"]),
        ("add.s32 %r1, %r2;", &["3 operands"]),
        ("add.s32 %r1, %r2, %rd1;", &["%rd1", "B64"]),
        ("add.s32 %r1, %r2, %r9;", &["%r9", "not defined"]),
        ("add.f32 %f1, %f2, 1;", &["Integer(1)", "F32"]),
        ("bra nowhere;", &["`nowhere`"]),
        ("call absent;", &["unresolved function", "`absent`"]),
        ("tex.2d.v4.f32.s32 %r1, [%r2];", &["tex.2d"]),
        ("st.global.u64 [%rd1], %r1;", &["B32", "U64"]),
        ("cvt.s32.f32 %r1, %f1;", &["rounding"]),
        ("ld.global.v3.u32 {%r1, %r2, %r3}, [%rd1];", &[".v3"]),
        ("atom.global.add.f16 %r1, [%rd1], %r2;", &["type"]),
        ("setp.lt.s32 %p1, %r1;", &["operands"]),
    ] {
        let (code, log) = refusal(&body(line));
        assert_eq!(code, 218, "{line}: {log}");
        assert!(log.contains("line 7"), "{line}: {log}");
        assert!(parts.iter().all(|part| log.contains(part)), "{line}: {log}");
    }
}

#[test]
fn a_kernel_with_a_rust_body_need_not_be_interpretable() {
    let gpu = gpu();
    let text =
        head("8.0", "sm_80") + ".visible .entry tensor(.param .u32 x) { mma.sync.unknown; ret; }";
    assert_eq!(refusal(&text).0, 218);
    fake_cuda::register_on(gpu.ordinal(), "tensor", |_| Ok(()));
    let module = module(&text);
    let x = 1u32;
    launch(&module, "tensor", block(1), args![x]);
    fake_cuda::unregister("tensor");
    assert_eq!(code(try_launch(&module, "tensor", block(1), args![x])), 218, "now it has no body");
}

#[test]
fn functions_are_found_by_name() {
    let gpu = gpu();
    let loaded = module(MEMORY_KERNELS);
    let one = loaded.get_function("saxpy").unwrap();
    assert_eq!(one.to_raw(), loaded.get_function("saxpy").unwrap().to_raw());
    assert_eq!(loaded.get_function("absent").err(), Some(CudaError::NotFound));
    assert_eq!(one.get_attribute(FunctionAttribute::MaxThreadsPerBlock).unwrap(), 1024);
    let tiled = module(BLOCKS);
    let tiled = tiled.get_function("gemm_tiled").unwrap();
    assert_eq!(tiled.get_attribute(FunctionAttribute::SharedMemorySizeBytes).unwrap(), 2048);
    assert_eq!(gpu.ledger().modules, 2);
    let raw = one.to_raw();
    drop(loaded);
    assert_eq!(gpu.ledger().modules, 1);
    // SAFETY: a handle that the fake driver finds stale.
    let stale = unsafe {
        sys::cuLaunchKernel(
            raw,
            1,
            1,
            1,
            1,
            1,
            1,
            0,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    assert_eq!(code(stale), 400);
}

#[test]
fn variables_count_and_go_with_their_module() {
    let gpu = gpu();
    let loaded = module(MEMORY_KERNELS);
    assert_eq!(gpu.ledger().module_bytes, 16 + 4 + 4 + 32 + 6 + 8);
    drop(loaded);
    assert_eq!(gpu.ledger().device_bytes, 0);
    let large = head("6.0", "sm_50") + ".global .align 4 .b8 large[999999999];";
    assert_eq!(refusal(&large).0, 2);
    assert_eq!(gpu.ledger().device_bytes, 0);
    let undefined = head("6.0", "sm_50") + ".extern .global .u32 elsewhere;";
    assert_eq!(refusal(&undefined).0, 218);
    let addresses = head("6.0", "sm_50")
        + ".global .u32 a[4] = {1, 2}; .global .u64 b[2] = {a, generic(a)+8};\n"
        + ".visible .entry k() { ret; }";
    let module = module(&addresses);
    let b = module.get_global::<[u64; 2]>(c"b").unwrap();
    let mut value = [0u64; 2];
    use cust::memory::CopyDestination;
    b.copy_to(&mut value).unwrap();
    assert_eq!(value[1], value[0] + 8);
    let mut at = [9u32; 4];
    module.get_global::<[u32; 4]>(c"a").unwrap().copy_to(&mut at).unwrap();
    assert_eq!(at, [1, 2, 0, 0]);
}

#[test]
fn geometry_is_checked_at_the_launch() {
    let _gpu = gpu();
    let module = module(CONTROL);
    let (pointer, limit) = (0u64, 0i32);
    let arguments = args![pointer, limit];
    let try_it = |grid, block, shared| {
        code(try_launch(&module, "early_return", (grid, block, shared), arguments))
    };
    assert_eq!(try_it([0, 1, 1], [1, 1, 1], 0), 1);
    assert_eq!(try_it([1, 1, 1], [1, 0, 1], 0), 1);
    assert_eq!(try_it([1, 1, 1], [1025, 1, 1], 0), 1);
    assert_eq!(try_it([1, 1, 1], [64, 32, 1], 0), 1);
    assert_eq!(try_it([1, 1, 1], [1, 1, 65], 0), 1);
    assert_eq!(try_it([1, 65_536, 1], [1, 1, 1], 0), 1);
    assert_eq!(try_it([1, 1, 1], [1, 1, 1], 49 << 10), 1);
    let function = module.get_function("early_return").unwrap();
    let largest = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    // SAFETY: a function that lives.
    unsafe {
        ok(sys::cuFuncSetAttribute(function.to_raw(), largest, 100 << 10));
        assert_eq!(code(sys::cuFuncSetAttribute(function.to_raw(), largest, 200 << 10)), 1);
    }
    assert_eq!(try_it([1, 1, 1], [1, 1, 1], 49 << 10), 0);
    // SAFETY: no arguments are passed where two are wanted.
    let missing = unsafe {
        sys::cuLaunchKernel(
            function.to_raw(),
            1,
            1,
            1,
            1,
            1,
            1,
            0,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    assert_eq!(code(missing), 1);
}

#[test]
fn launch_bounds_are_heeded() {
    let _gpu = gpu();
    let text = head("6.0", "sm_50")
        + ".visible .entry most() .maxntid 64, 1, 1 { ret; }\n"
        + ".visible .entry exact() .reqntid 32, 2, 1 { ret; }";
    let module = module(&text);
    launch(&module, "most", block(64), &[]);
    assert_eq!(code(try_launch(&module, "most", block(65), &[])), 701);
    launch(&module, "exact", ([1; 3], [32, 2, 1], 0), &[]);
    assert_eq!(code(try_launch(&module, "exact", block(64), &[])), 701);
}

#[test]
fn arguments_may_come_in_one_buffer() {
    let _gpu = gpu();
    let module = module(MEMORY_KERNELS);
    let function = module.get_function("saxpy").unwrap();
    let (x, y) = (buffer(&[1f32; 8]), buffer(&[10f32; 8]));
    let mut packed = Vec::new();
    packed.extend(2f32.to_le_bytes());
    packed.extend([0; 4]); // (the pointers are aligned)
    packed.extend(x.as_device_ptr().as_raw().to_le_bytes());
    packed.extend(y.as_device_ptr().as_raw().to_le_bytes());
    packed.extend(8u32.to_le_bytes());
    let launch_with = |bytes: usize| {
        let mut size = bytes;
        let mut extra = [
            ptr::without_provenance_mut(1),
            packed.as_ptr().cast_mut().cast(),
            ptr::without_provenance_mut(2),
            ptr::from_mut(&mut size).cast(),
            ptr::null_mut(),
        ];
        // SAFETY: the buffer is as the kernel wants it.
        code(unsafe {
            sys::cuLaunchKernel(
                function.to_raw(),
                1,
                1,
                1,
                8,
                1,
                1,
                0,
                ptr::null_mut(),
                ptr::null_mut(),
                extra.as_mut_ptr(),
            )
        })
    };
    assert_eq!(launch_with(packed.len()), 0);
    assert_eq!(launch_with(packed.len() - 1), 1, "too short");
    assert_eq!(read(&y), [12f32; 8]);
}

#[test]
fn occupancy() {
    let _gpu = gpu();
    let module = module(BLOCKS);
    let tiled = module.get_function("gemm_tiled").unwrap();
    use cust::function::BlockSize;
    let blocks = tiled.max_active_blocks_per_multiprocessor(BlockSize::x(256), 0).unwrap();
    assert!((1..=8).contains(&blocks));
    let fewer = tiled.max_active_blocks_per_multiprocessor(BlockSize::x(256), 40 << 10).unwrap();
    assert!(fewer <= 3);
    let (grid, block) = tiled.suggested_launch_configuration(0, BlockSize::x(512)).unwrap();
    assert!(block > 0 && block <= 512 && grid % 108 == 0);
}

#[test]
fn cooperative_launches_must_fit() {
    let _gpu = gpu();
    let module = module(MEMORY_KERNELS);
    let function = module.get_function("rendezvous").unwrap();
    let (arrived, out) = (buffer(&[0u32]), buffer(&[0i32; 200]));
    let (a, o) = (arrived.as_device_ptr(), out.as_device_ptr());
    let mut arguments = args![a, o].map(<*const c_void>::cast_mut);
    let mut launch_blocks = |blocks: u32| {
        // SAFETY: the arguments are those of the kernel.
        code(unsafe {
            sys::cuLaunchCooperativeKernel(
                function.to_raw(),
                blocks,
                1,
                1,
                32,
                1,
                1,
                0,
                ptr::null_mut(),
                arguments.as_mut_ptr(),
            )
        })
    };
    assert_eq!(launch_blocks(200), 0);
    assert_eq!(launch_blocks(100_000), 720);
    assert_eq!(read(&out), [1; 200]);
}

/// Device functions print with `printf`, and fail with `assert`.
#[test]
fn builtins_of_the_device() {
    let gpu = gpu();
    let text = head("6.0", "sm_50")
        + r#"
.extern .func (.param .b32 r) vprintf (.param .b64 a, .param .b64 b);
.extern .func __assertfail (.param .b64 a, .param .b64 b, .param .b32 c, .param .b64 d, .param .b64 e);
.global .align 1 .b8 text[10] = {105, 32, 61, 32, 37, 100, 10, 0, 0, 0};
.visible .entry say()
{
    .local .align 8 .b8 buffer[8];
    .reg .b32 %r<3>;
    .reg .b64 %rd<4>;
    mov.u32 %r1, %tid.x;
    mov.u64 %rd1, buffer;
    st.local.u32 [%rd1], %r1;
    cvta.local.u64 %rd1, %rd1;
    mov.u64 %rd2, text;
    cvta.global.u64 %rd2, %rd2;
    { .param .b64 p0; st.param.b64 [p0], %rd2;
      .param .b64 p1; st.param.b64 [p1], %rd1;
      .param .b32 r0;
      call.uni (r0), vprintf, (p0, p1);
      ld.param.b32 %r2, [r0]; }
    ret;
}
.visible .entry fail()
{
    .reg .b32 %r;
    .reg .b64 %rd<2>;
    mov.u32 %r, 42;
    mov.u64 %rd1, text;
    call.uni __assertfail, (%rd1, %rd1, %r, %rd1, %rd1);
    ret;
}"#;
    let module = module(&text);
    launch(&module, "say", block(1), &[]);
    ok(try_launch(&module, "fail", block(1), &[]));
    // SAFETY: no arguments.
    assert_eq!(code(unsafe { sys::cuCtxSynchronize() }), 710);
    gpu.reset();
    std::mem::forget(module);
}

#[test]
fn every_entry_point_is_one_of_the_drivers() {
    start();
    let known = rustkernel_driver::FORWARDED;
    let own = ["cuInit", "cuGetErrorName", "cuGetErrorString"];
    for name in fake_cuda::ENTRY_POINTS {
        assert!(known.contains(name) || own.contains(name), "{name}");
        assert!(fake_cuda::lookup(&CString::new(*name).unwrap()).is_some());
    }
    assert!(fake_cuda::lookup(c"cuTexObjectCreate").is_none());
    // what is not there is not there for `cust` either
    // SAFETY: nothing is done with the arguments.
    assert_eq!(code(unsafe { sys::cuTexObjectDestroy(0) }), 801);
    let mut text = ptr::null();
    // SAFETY: a place for the result.
    ok(unsafe { sys::cuGetErrorName(sys::CUresult::CUDA_ERROR_ILLEGAL_ADDRESS, &mut text) });
    // SAFETY: a static string.
    assert_eq!(unsafe { std::ffi::CStr::from_ptr(text) }, c"CUDA_ERROR_ILLEGAL_ADDRESS");
    let mut version = 0;
    // SAFETY: a place for the result.
    ok(unsafe { sys::cuDriverGetVersion(&mut version) });
    assert_eq!(version, 12_040);
}

/// Whatever is wrong with a text, it is refused, or what is left of it is taken: 999 would be a panic.
#[test]
fn damaged_texts_are_refused_and_nothing_else() {
    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;
    let gpu = gpu();
    // (one text is enough; its head comes first)
    let lines: Vec<&str> = CONTROL.lines().collect();
    let cases = std::env::var("FAKE_CUDA_TEST_CASES").map_or(60, |cases| cases.parse().unwrap());
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let place = || 0usize..lines.len();
    // one byte replaced, one line gone, one line from elsewhere, the end cut off
    let damage = (0..4, place(), place(), any::<u8>(), 0usize..80);
    TestRunner::new(config)
        .run(&damage, |(kind, at, from, byte, column)| {
            let mut text: Vec<String> = lines.iter().map(|line| (*line).to_string()).collect();
            match kind {
                0 if column < text[at].len() => {
                    let damaged = char::from(byte & 0x7f | 1).to_string();
                    text[at].replace_range(column..=column, &damaged);
                }
                1 => {
                    text.remove(at);
                }
                2 => text[at] = lines[from].to_string(),
                _ => text.truncate(at),
            }
            let (code, log) = refusal(&text.join("\n"));
            prop_assert!(matches!(code, 0 | 2 | 218 | 222), "{} {}", code, log);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((gpu.ledger().modules, gpu.ledger().device_bytes), (0, 0));
}
