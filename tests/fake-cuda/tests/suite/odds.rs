//! What compute kernels do now and then.

use crate::support::*;

const ODDS: &str = include_str!("../kernels/odds.ptx");

#[test]
fn virtual_functions() {
    let _gpu = gpu();
    let out = buffer(&[0f32; 32]);
    let (pointer, n) = (out.as_device_ptr(), 30i32);
    launch(&module(ODDS), "virtuals", block(32), args![pointer, n]);
    let area = |i: i32| {
        let x = i as f32;
        if i >= 30 {
            0.0
        } else if i & 1 != 0 {
            3.0 * x * x
        } else {
            x + 1.0
        }
    };
    assert_eq!(read(&out), (0..32).map(area).collect::<Vec<f32>>());
}

#[test]
fn a_matrix_by_value() {
    let _gpu = gpu();
    let matrix: [[f32; 4]; 4] =
        std::array::from_fn(|i| std::array::from_fn(|j| (i * 4 + j) as f32));
    let (v, out) = (buffer(&[1f32, 2.0, 3.0, 4.0]), buffer(&[0f32; 4]));
    let (pv, po) = (v.as_device_ptr(), out.as_device_ptr());
    launch(&module(ODDS), "transform", block(4), args![matrix, pv, po]);
    assert_eq!(read(&out), [20.0, 60.0, 100.0, 140.0]);
}

#[test]
fn three_dimensions() {
    let _gpu = gpu();
    let (grid, threads) = ([2u32, 3, 2], [4u32, 2, 3]);
    let [width, height, depth] = [0, 1, 2].map(|axis| (grid[axis] * threads[axis]) as usize);
    let out = buffer(&vec![0i32; width * height * depth]);
    let pointer = out.as_device_ptr();
    launch(&module(ODDS), "dimensions", (grid, threads, 0), args![pointer]);
    for (i, value) in read(&out).into_iter().enumerate() {
        let (x, y, z) = (i % width, i / width % height, i / width / height);
        assert_eq!(value as usize, x + 100 * y + 10_000 * z);
    }
}

#[test]
fn the_clock_goes_on() {
    let _gpu = gpu();
    let out = buffer(&[0i64; 64]);
    let (pointer, cycles) = (out.as_device_ptr(), 50_000i64);
    launch(&module(ODDS), "wait", block(64), args![cycles, pointer]);
    assert!(read(&out).iter().all(|waited| *waited >= 50_000));
}

#[test]
fn the_last_block_adds_up() {
    let _gpu = gpu();
    let n = 30_000i32;
    let x: Vec<f32> = (0..n).map(|i| (i % 5) as f32).collect();
    let (dx, out) = (buffer(&x), buffer(&[0f32; 21]));
    let (px, po) = (dx.as_device_ptr(), out.as_device_ptr());
    let module = module(ODDS);
    for _ in 0..2 {
        launch(&module, "grid_sum", ([20, 1, 1], [128, 1, 1], 0), args![px, po, n]);
        assert_eq!(read(&out)[0], x.iter().sum::<f32>());
    }
}

#[test]
fn large_local_arrays() {
    let _gpu = gpu();
    let n = 200i32;
    let values: Vec<i32> = (0..4 * n).collect();
    let (input, output) = (buffer(&values), buffer(&vec![0i32; values.len()]));
    let (a, b) = (input.as_device_ptr(), output.as_device_ptr());
    launch(&module(ODDS), "large_local", block(96), args![a, b, n]);
    for (i, v) in read(&output).chunks(4).enumerate() {
        let i = i as i32;
        let added = ((i * 7) & 63) * (i % 96 + 1);
        assert_eq!(v, [4 * i + added, 4 * i + 1, 4 * i + 2, 4 * i + 3]);
    }
}

/// (What it prints is looked at by `library::a_kernel_prints`.)
#[test]
fn in_child_say() {
    if std::env::var_os("FAKE_CUDA_TEST_CHILD").is_none() {
        return;
    }
    cust::init(cust::CudaFlags::empty()).unwrap();
    let _context = context_of(0);
    let (x, d) = (-7i32, 2.5f64);
    launch(&module(ODDS), "say", block(1), args![x, d]);
}
