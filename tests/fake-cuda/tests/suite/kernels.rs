//! Kernels that NVRTC compiled, against the same computations in Rust.

use cust::memory::DeviceBuffer;

use crate::support::*;

#[test]
fn saxpy() {
    let _gpu = gpu();
    let (n, a) = (10_000u32, 2.5f32);
    let x: Vec<f32> = (0..n).map(|i| i as f32 * 0.25).collect();
    let y: Vec<f32> = (0..n).map(|i| 7.0 - i as f32).collect();
    let (dx, dy) = (buffer(&x), buffer(&y));
    let pointers = (dx.as_device_ptr(), dy.as_device_ptr());
    let module = module(MEMORY_KERNELS);
    launch(&module, "saxpy", line(n as usize), args![a, pointers.0, pointers.1, n]);
    let expected: Vec<f32> = x.iter().zip(&y).map(|(x, y)| a.mul_add(*x, *y)).collect();
    assert_eq!(read(&dy), expected);
}

#[test]
fn block_sum_with_dynamic_shared_memory_and_shuffles() {
    let _gpu = gpu();
    let module = module(BLOCKS);
    for threads in [32u32, 64, 256, 1024] {
        let n = 5000u32;
        let x: Vec<f32> = (0..n).map(|i| (i % 17) as f32).collect();
        let blocks = n.div_ceil(threads);
        let (dx, partial) = (buffer(&x), buffer(&vec![0f32; blocks as usize]));
        let (px, pp) = (dx.as_device_ptr(), partial.as_device_ptr());
        let size = ([blocks, 1, 1], [threads, 1, 1], threads * 4);
        launch(&module, "block_sum", size, args![px, pp, n]);
        let expected: Vec<f32> = x.chunks(threads as usize).map(|chunk| chunk.iter().sum()).collect();
        assert_eq!(read(&partial), expected, "{threads} threads");
    }
}

#[test]
fn gemm_with_tiles_and_edges() {
    let _gpu = gpu();
    let module = module(BLOCKS);
    let (m, n, k) = (50u32, 37u32, 65u32);
    let a: Vec<f32> = (0..m * k).map(|i| (i % 7) as f32 - 3.0).collect();
    let b: Vec<f32> = (0..k * n).map(|i| (i % 5) as f32 - 2.0).collect();
    let (da, db, dc) = (buffer(&a), buffer(&b), buffer(&vec![0f32; (m * n) as usize]));
    let (pa, pb, pc) = (da.as_device_ptr(), db.as_device_ptr(), dc.as_device_ptr());
    let size = ([n.div_ceil(16), m.div_ceil(16), 1], [16, 16, 1], 0);
    launch(&module, "gemm_tiled", size, args![pa, pb, pc, m, n, k]);
    let at = |row: u32, column: u32| -> f32 {
        (0..k).map(|i| a[(row * k + i) as usize] * b[(i * n + column) as usize]).sum()
    };
    let expected: Vec<f32> = (0..m).flat_map(|row| (0..n).map(move |column| at(row, column))).collect();
    assert_eq!(read(&dc), expected);
}

#[test]
fn scans_of_any_length() {
    let _gpu = gpu();
    let module = module(BLOCKS);
    for threads in [1u32, 31, 32, 33, 100, 1000, 1024] {
        let values: Vec<i32> = (0..threads as i32).map(|i| i * i % 13 - 5).collect();
        let (input, output) = (buffer(&values), buffer(&vec![0i32; threads as usize]));
        let pointers = (input.as_device_ptr(), output.as_device_ptr());
        launch(&module, "scan", block(threads), args![pointers.0, pointers.1]);
        let mut sum = 0;
        let expected: Vec<i32> = values
            .iter()
            .map(|value| {
                sum += value;
                sum
            })
            .collect();
        assert_eq!(read(&output), expected, "{threads} threads");
    }
}

#[test]
fn every_shuffle() {
    let _gpu = gpu();
    let values: Vec<i32> = (0..32).map(|lane| lane * 100).collect();
    let doubles: Vec<f64> = (0..32).map(|lane| f64::from(lane) + 0.5).collect();
    let (input, dinput) = (buffer(&values), buffer(&doubles));
    let (output, doutput) = (buffer(&[0i32; 168]), buffer(&[0f64; 32]));
    let (a, b) = (input.as_device_ptr(), dinput.as_device_ptr());
    let (c, d) = (output.as_device_ptr(), doutput.as_device_ptr());
    launch(&module(BLOCKS), "shuffles", block(32), args![a, b, c, d]);
    let out = read(&output);
    for lane in 0..32usize {
        let at = |from: usize| from as i32 * 100;
        assert_eq!(out[lane], at(lane * 7 % 32));
        assert_eq!(out[32 + lane], at(lane ^ 5));
        assert_eq!(out[64 + lane], at(if lane % 8 + 3 < 8 { lane + 3 } else { lane }));
        assert_eq!(out[96 + lane], at(if lane % 16 >= 3 { lane - 3 } else { lane }));
        assert_eq!(out[128 + lane], at(lane / 4 * 4 + 1));
        if lane < 7 {
            assert_eq!(out[160 + lane], at(lane + 1));
        }
    }
    let swapped: Vec<f64> = (0..32).map(|lane| f64::from(lane ^ 16) + 0.5).collect();
    assert_eq!(read(&doutput), swapped);
}

#[test]
fn votes_and_active_lanes() {
    let _gpu = gpu();
    let values: Vec<i32> = (0..32).map(|lane| lane * 37 % 64).collect();
    let (input, output) = (buffer(&values), buffer(&[0u32; 128]));
    let (a, b) = (input.as_device_ptr(), output.as_device_ptr());
    launch(&module(BLOCKS), "votes", block(32), args![a, b]);
    let out = read(&output);
    let ballot = |test: &dyn Fn(i32) -> bool| {
        values.iter().enumerate().fold(0u32, |mask, (lane, v)| mask | u32::from(test(*v)) << lane)
    };
    let odd = ballot(&|v| v & 1 != 0);
    let second = ballot(&|v| v & 2 != 0);
    for (lane, value) in values.iter().enumerate() {
        assert_eq!(out[lane], odd);
        assert_eq!(out[32 + lane], 2, "none above 100, all below 1000");
        assert_eq!(out[64 + lane], if value & 2 != 0 { second } else { second }, "the branch's lanes");
        assert_eq!(out[96 + lane], ballot(&|v| v & 4 != 0).count_ones());
    }
}

#[test]
fn barriers_that_vote() {
    let _gpu = gpu();
    let threads = 96;
    let values: Vec<i32> = (0..threads).collect();
    let (input, output) = (buffer(&values), buffer(&vec![0i32; 3 * threads as usize]));
    let (a, b) = (input.as_device_ptr(), output.as_device_ptr());
    launch(&module(BLOCKS), "barrier_votes", block(threads as u32), args![a, b]);
    let out = read(&output);
    assert!(out[..96].iter().all(|count| *count == 48));
    assert!(out[96..192].iter().all(|all| *all == 1));
    assert!(out[192..].iter().all(|any| *any == 1));
}

#[test]
fn transpose_with_padding_and_edges() {
    let _gpu = gpu();
    let (width, height) = (70i32, 45i32);
    let values: Vec<f32> = (0..width * height).map(|i| i as f32).collect();
    let (input, output) = (buffer(&values), buffer(&vec![0f32; values.len()]));
    let (a, b) = (input.as_device_ptr(), output.as_device_ptr());
    let size = ([3, 2, 1], [32, 8, 1], 0);
    launch(&module(BLOCKS), "transpose", size, args![a, b, width, height]);
    let expected: Vec<f32> =
        (0..width).flat_map(|x| (0..height).map(move |y| (y * width + x) as f32)).collect();
    assert_eq!(read(&output), expected);
}

#[test]
fn bitonic_sort() {
    let _gpu = gpu();
    let values: Vec<u32> = (0..1024u32).map(|i| i.wrapping_mul(2_654_435_761) >> 7).collect();
    let data = buffer(&values);
    let pointer = data.as_device_ptr();
    launch(&module(BLOCKS), "bitonic", ([2, 1, 1], [512, 1, 1], 2048), args![pointer]);
    let mut expected = values;
    expected.chunks_mut(512).for_each(<[u32]>::sort);
    assert_eq!(read(&data), expected);
}

#[test]
fn softmax_with_barriers_in_a_called_function() {
    let _gpu = gpu();
    let (rows, columns) = (5usize, 300u32);
    let values: Vec<f32> = (0..rows * columns as usize).map(|i| (i % 23) as f32 * 0.1).collect();
    let (input, output) = (buffer(&values), buffer(&vec![0f32; values.len()]));
    let (a, b) = (input.as_device_ptr(), output.as_device_ptr());
    let size = ([rows as u32, 1, 1], [256, 1, 1], 0);
    launch(&module(BLOCKS), "softmax", size, args![a, b, columns]);
    let out = read(&output);
    for (row, out) in values.chunks(columns as usize).zip(out.chunks(columns as usize)) {
        let mean = row.iter().sum::<f32>() / columns as f32;
        let total: f32 = row.iter().map(|x| (x - mean).exp()).sum();
        for (x, y) in row.iter().zip(out) {
            let expected = (x - mean).exp() / total;
            assert!((y - expected).abs() <= 1e-5 * expected, "{y} {expected}");
        }
    }
}

#[test]
fn narrow_types_are_extended_and_cut() {
    let _gpu = gpu();
    let n = 200;
    let a: Vec<i8> = (0..n).map(|i| (i * 7) as i8).collect();
    let b: Vec<u8> = (0..n).map(|i| (i * 11) as u8).collect();
    let c: Vec<i16> = (0..n).map(|i| (i * 997 - 20_000) as i16).collect();
    let d: Vec<u16> = (0..n).map(|i| (i * 1009) as u16).collect();
    let (da, db, dc, dd) = (buffer(&a), buffer(&b), buffer(&c), buffer(&d));
    let (e, f, wide) = (
        buffer(&vec![0i8; n as usize]),
        buffer(&vec![0u16; n as usize]),
        buffer(&vec![0i32; n as usize]),
    );
    let inputs = (da.as_device_ptr(), db.as_device_ptr(), dc.as_device_ptr(), dd.as_device_ptr());
    let outputs = (e.as_device_ptr(), f.as_device_ptr(), wide.as_device_ptr());
    let arguments =
        args![inputs.0, inputs.1, inputs.2, inputs.3, outputs.0, outputs.1, outputs.2, n];
    launch(&module(MEMORY_KERNELS), "narrow", line(n as usize), arguments);
    let (e, f, wide) = (read(&e), read(&f), read(&wide));
    for i in 0..n as usize {
        let (a, b, c, d) = (i32::from(a[i]), i32::from(b[i]), i32::from(c[i]), i32::from(d[i]));
        assert_eq!(e[i], (a + b) as i8);
        assert_eq!(f[i], c.wrapping_mul(d) as u16);
        assert_eq!(wide[i], a * 1000 + b + c / 3 - (d >> 2));
    }
}

#[test]
fn vectors_of_two_and_four() {
    let _gpu = gpu();
    let n = 64u32;
    let floats: Vec<[f32; 4]> = (0..n).map(|i| [0, 1, 2, 3].map(|j| (i * 4 + j) as f32)).collect();
    let ints: Vec<[i32; 2]> = (0..n as i32).map(|i| [i, 100 - i]).collect();
    let doubles: Vec<[f64; 2]> = (0..n).map(|i| [f64::from(i), 0.5]).collect();
    let bytes: Vec<[u8; 4]> = (0..n as u8).map(|i| [i, i + 1, i + 2, i + 3]).collect();
    let flat = |v: &[[f32; 4]]| v.concat();
    let (a, b) = (buffer(&flat(&floats)), buffer(&ints.concat()));
    let (c, d) = (buffer(&doubles.concat()), buffer(&bytes.concat()));
    let (e, f) = (buffer(&vec![0f32; a.len()]), buffer(&vec![0i32; b.len()]));
    let (g, h) = (buffer(&vec![0f64; c.len()]), buffer(&vec![0u8; d.len()]));
    let (pa, pb, pc, pd) =
        (a.as_device_ptr(), b.as_device_ptr(), c.as_device_ptr(), d.as_device_ptr());
    let (pe, pf, pg, ph) =
        (e.as_device_ptr(), f.as_device_ptr(), g.as_device_ptr(), h.as_device_ptr());
    let size = ([1; 3], [n, 1, 1], 0);
    launch(&module(MEMORY_KERNELS), "vectors", size, args![pa, pb, pc, pd, pe, pf, pg, ph]);
    let expected: Vec<f32> = floats.iter().flat_map(|v| [v[3], v[2], v[1], v[0]]).collect();
    assert_eq!(read(&e), expected);
    let expected: Vec<i32> = ints.iter().flat_map(|v| [v[1], v[0] + v[1]]).collect();
    assert_eq!(read(&f), expected);
    let expected: Vec<f64> = doubles.iter().flat_map(|v| [v[1], v[0] * 2.0]).collect();
    assert_eq!(read(&g), expected);
    let expected: Vec<u8> = bytes.iter().flat_map(|v| [v[3], v[2], v[1], v[0]]).collect();
    assert_eq!(read(&h), expected);
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Options {
    scale: f32,
    shift: i32,
    bias: f64,
    flags: [u8; 5],
    weights: [f32; 8],
}

#[test]
fn a_structure_by_value() {
    let _gpu = gpu();
    let options = Options {
        scale: 2.0,
        shift: 3,
        bias: 0.125,
        flags: [1, 2, 3, 4, 200],
        weights: [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
    };
    let n = 100;
    let x: Vec<f32> = (0..n).map(|i| i as f32 * 0.5).collect();
    let (dx, dy) = (buffer(&x), buffer(&vec![0f64; n as usize]));
    let (px, py) = (dx.as_device_ptr(), dy.as_device_ptr());
    launch(&module(MEMORY_KERNELS), "structure", line(n as usize), args![options, px, py, n]);
    let out = read(&dy);
    for (i, x) in x.iter().enumerate() {
        let product = x * options.scale * options.weights[i & 7];
        let flag = i32::from(options.flags[i % 5]) << options.shift;
        let expected = f64::from(product) + options.bias + f64::from(flag);
        assert_eq!(out[i], expected, "{i}");
    }
}

#[test]
fn local_arrays() {
    let _gpu = gpu();
    let n = 300;
    let a: Vec<i32> = (0..n).map(|i: i32| i.wrapping_mul(0x9e37_79b1_u32 as i32)).collect();
    let (da, out) = (buffer(&a), buffer(&vec![0i32; n as usize]));
    let (pa, po) = (da.as_device_ptr(), out.as_device_ptr());
    launch(&module(MEMORY_KERNELS), "local_array", line(n as usize), args![pa, po, n]);
    let out = read(&out);
    for (i, a) in a.iter().enumerate() {
        let mut counts = [0i32; 16];
        for j in 0..8 {
            counts[(a.cast_unsigned() >> (4 * j) & 15) as usize] += j + 1;
        }
        let best = (1..16).fold(0, |best, j| if counts[j] > counts[best] { j } else { best });
        assert_eq!(out[i], best as i32 * 1000 + counts[(a >> 3 & 15) as usize]);
    }
}

#[test]
fn read_only_loads_and_wide_indices() {
    let _gpu = gpu();
    let n = 1000i64;
    let a: Vec<i32> = (0..n as i32).collect();
    let (da, out) = (buffer(&a), buffer(&vec![-1i32; 3 * n as usize]));
    let (pa, po, stride) = (da.as_device_ptr(), out.as_device_ptr(), 3i64);
    let size = ([2, 1, 1], [64, 1, 1], 0);
    launch(&module(MEMORY_KERNELS), "wide_index", size, args![pa, po, stride, n]);
    let expected: Vec<i32> =
        (0..n as i32).flat_map(|i| [n as i32 - 1 - i, -1, -1]).collect();
    assert_eq!(read(&out), expected);
}

#[test]
fn blocks_wait_for_each_other() {
    let _gpu = gpu();
    let module = module(MEMORY_KERNELS);
    let (flag, data, out) = (buffer(&[0i32]), buffer(&[0i32]), buffer(&[0i32; 8]));
    let (pf, pd, po) = (flag.as_device_ptr(), data.as_device_ptr(), out.as_device_ptr());
    let size = ([8, 1, 1], [32, 1, 1], 0);
    launch(&module, "fences", size, args![pf, pd, po]);
    assert_eq!(read(&out)[1..], [99; 7]);
    // (here the first block waits for the last)
    let (arrived, out) = (buffer(&[0u32]), buffer(&[0i32; 40]));
    let (pa, po) = (arrived.as_device_ptr(), out.as_device_ptr());
    let size = ([40, 1, 1], [64, 1, 1], 0);
    launch(&module, "rendezvous", size, args![pa, po]);
    assert_eq!(read(&out), [1; 40]);
}

#[test]
fn lanes_wait_for_each_other() {
    let _gpu = gpu();
    let (lock, total) = (buffer(&[0u32]), buffer(&[0i32]));
    let (pl, pt) = (lock.as_device_ptr(), total.as_device_ptr());
    launch(&module(MEMORY_KERNELS), "spin_lock", ([3, 1, 1], [64, 1, 1], 0), args![pl, pt]);
    assert_eq!(read(&total), [192]);
}

#[test]
fn all_atomics() {
    let _gpu = gpu();
    let n = 500;
    let a: Vec<i32> = (0..n).map(|i| (i * 7919) % 1000 - 300).collect();
    let da = buffer(&a);
    let ints = buffer(&[0, 0, i32::MAX, i32::MIN, -1, 0, 0]);
    let mut words = vec![0u32; 8 + n as usize];
    words[0] = u32::MAX;
    let (uints, longs, floats) = (buffer(&words), buffer(&[0u64; 3]), buffer(&[0f32, -1e9]));
    let (pa, pi, pu) = (da.as_device_ptr(), ints.as_device_ptr(), uints.as_device_ptr());
    let (pl, pf) = (longs.as_device_ptr(), floats.as_device_ptr());
    launch(&module(MEMORY_KERNELS), "atomics", line(n as usize), args![pa, pi, pu, pl, pf, n]);

    let (sum, xor) = (a.iter().sum::<i32>(), a.iter().fold(0, |x, v| x ^ v));
    let (min, max) = (*a.iter().min().unwrap(), *a.iter().max().unwrap());
    let (and, or) = (a.iter().fold(-1, |x, v| x & v), a.iter().fold(0, |x, v| x | v));
    assert_eq!(read(&ints), [sum, -sum, min, max, and, or, xor]);
    let unsigned = || a.iter().map(|v| v.cast_unsigned());
    let words = read(&uints);
    assert_eq!(words[0], unsigned().min().unwrap());
    assert_eq!(words[1], unsigned().max().unwrap());
    assert_eq!(words[2], n as u32 % 11, "atomicInc wraps past 10");
    let mut down = 0u32;
    for _ in 0..n {
        down = if down == 0 || down > 7 { 7 } else { down - 1 };
    }
    assert_eq!(words[3], down);
    assert_eq!((words[4], words[5]), (n as u32, n as u32));
    let mut tickets = words[8..].to_vec();
    tickets.sort_unstable();
    assert!(tickets.into_iter().eq(0..n as u32), "each ticket is given out once");
    let long_sum: u64 = unsigned().map(u64::from).sum();
    let long_max = a.iter().map(|v| i64::from(*v).cast_unsigned()).max().unwrap();
    assert_eq!(read(&longs), [long_sum, long_max, 77]);
    assert_eq!(read(&floats), [sum as f32, max as f32]);
}

#[test]
fn histogram_in_shared_memory() {
    let _gpu = gpu();
    let data: Vec<u8> = (0..20_000u32).map(|i| (i.wrapping_mul(i) >> 3) as u8).collect();
    let n = data.len() as i32;
    let (input, bins) = (buffer(&data), buffer(&[0u32; 256]));
    let (a, b) = (input.as_device_ptr(), bins.as_device_ptr());
    launch(&module(MEMORY_KERNELS), "histogram", ([4, 1, 1], [128, 1, 1], 0), args![a, b, n]);
    let mut expected = vec![0u32; 256];
    data.iter().for_each(|byte| expected[usize::from(*byte)] += 1);
    assert_eq!(read(&bins), expected);
}

#[test]
fn variables_of_the_module() {
    let _gpu = gpu();
    let mut module = module(MEMORY_KERNELS);
    let x = [0.5f32, -1.0, 2.0, 3.0, 4.0, 5.0];
    let (dx, dy, place) = (buffer(&x), buffer(&[0f32; 6]), buffer(&[0f32]));
    let (px, py, n) = (dx.as_device_ptr(), dy.as_device_ptr(), 6);
    let name = |text: &str| std::ffi::CString::new(text).unwrap();
    set(&mut module, &name("offset"), 10i32);
    set(&mut module, &name("indirect"), place.as_device_ptr().as_raw());
    for round in 0..2 {
        launch(&module, "globals", line(6), args![px, py, n]);
        let counter = module.get_global::<i32>(&name("counter")).unwrap();
        assert_eq!(get(&counter), 8 + round);
    }
    let primes = [2.0, 3.0, 5.0, 7.0, 11.0, 13.0f32];
    let expected: Vec<f32> = (0..6)
        .map(|i| {
            let polynomial =
                [0.25f32, 0.5, -2.0, 1.0].iter().fold(0.0f32, |r, c| r.mul_add(x[i], *c));
            polynomial + 10.0 + primes[i] + (i & 1) as f32 + 1.0
        })
        .collect();
    assert_eq!(read(&dy), expected);
    assert_eq!(read(&place), [42.0]);
    assert_eq!(get(&module.get_global::<[u64; 4]>(&name("stamps")).unwrap()), [1, 2, u64::MAX, 9]);
    assert!(module.get_global::<i32>(&name("absent")).is_err());
}

fn set<T: cust::memory::DeviceCopy>(
    module: &mut cust::module::Module,
    name: &std::ffi::CStr,
    value: T,
) {
    use cust::memory::CopyDestination;
    module.get_global::<T>(name).unwrap().copy_from(&value).unwrap();
}

fn get<T: cust::memory::DeviceCopy + Default>(symbol: &cust::module::Symbol<'_, T>) -> T {
    use cust::memory::CopyDestination;
    let mut value = T::default();
    symbol.copy_to(&mut value).unwrap();
    value
}

#[test]
fn pointers_of_any_space() {
    let _gpu = gpu();
    let (a, out): (DeviceBuffer<i32>, _) =
        (buffer(&(1000..1032).collect::<Vec<_>>()), buffer(&[0i32; 64]));
    let (pa, po) = (a.as_device_ptr(), out.as_device_ptr());
    launch(&module(MEMORY_KERNELS), "generic", block(32), args![pa, po]);
    let (a, out) = (read(&a), read(&out));
    let mut shared: Vec<i32> = (0..32).map(|t| 100 + t).collect();
    for t in 0..32usize {
        let expected = match t % 3 {
            0 => 1000 + t as i32,
            1 => 100 + 31 - t as i32,
            _ => 200 + t as i32,
        };
        assert_eq!(out[t], expected);
        if t % 3 == 1 {
            shared[31 - t] = -(t as i32);
        }
    }
    for t in 0..32usize {
        assert_eq!(a[t], if t % 3 == 0 { -(t as i32) } else { 1000 + t as i32 });
        let local = if t % 3 == 2 { -(t as i32) } else { 200 + t as i32 };
        assert_eq!(out[32 + t], shared[t] + local);
    }
}
