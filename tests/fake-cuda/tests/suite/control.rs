//! Divergent control flow, calls, and what stops a kernel.

use crate::support::*;

#[test]
fn lanes_loop_as_often_as_each_must() {
    let _gpu = gpu();
    let start: Vec<u32> = (1..1001).collect();
    let (input, output) = (buffer(&start), buffer(&vec![0u32; start.len()]));
    let (a, b, n) = (input.as_device_ptr(), output.as_device_ptr(), start.len() as i32);
    launch(&module(CONTROL), "collatz", line(start.len()), args![a, b, n]);
    let steps = |start: &u32| {
        let (mut x, mut steps) = (*start, 0);
        while x != 1 && steps < 1000 {
            x = if x & 1 == 1 { 3 * x + 1 } else { x / 2 };
            steps += 1;
        }
        steps
    };
    assert_eq!(read(&output), start.iter().map(steps).collect::<Vec<u32>>());
}

/// The kernel `tangle`, in Rust.
fn tangle(x: i32) -> i32 {
    let mut sum = 0i32;
    for j in 0..(x & 15) {
        if j == 3 {
            continue;
        }
        let mut k = j;
        while k < 20 {
            if (k ^ x) % 7 == 0 {
                break;
            }
            sum = sum.wrapping_add(k * j);
            k += 3;
        }
        match (x >> 4 ^ j) & 15 {
            0 => sum = sum.wrapping_add(1),
            1 => sum = sum.wrapping_sub(3).wrapping_mul(3),
            2 => sum = sum.wrapping_mul(3),
            5 => sum ^= 0x55,
            6 => sum = sum << 1 | 1,
            7 => sum = sum.wrapping_add(j * 100),
            9 => return sum,
            11 => sum = sum.wrapping_neg(),
            _ => sum = sum.wrapping_add(7),
        }
    }
    sum
}

#[test]
fn loops_switches_and_jumps_tangle() {
    let _gpu = gpu();
    let values: Vec<i32> =
        (0..2000).map(|i: i32| i.wrapping_mul(2_654_435_761u32 as i32)).collect();
    let (input, output) = (buffer(&values), buffer(&vec![0; values.len()]));
    let (a, b, n) = (input.as_device_ptr(), output.as_device_ptr(), values.len() as i32);
    launch(&module(CONTROL), "tangle", line(values.len()), args![a, b, n]);
    assert_eq!(read(&output), values.iter().map(|x| tangle(*x)).collect::<Vec<i32>>());
}

fn gcd(mut a: i32, mut b: i32) -> i32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[test]
fn device_functions_are_called_from_divergent_code() {
    let _gpu = gpu();
    let a: Vec<i32> = (0..500).map(|i| i * 37 % 211 - 60).collect();
    let b: Vec<i32> = (0..500).map(|i| i * 53 % 97 - 20).collect();
    let (da, db, out) = (buffer(&a), buffer(&b), buffer(&[0f32; 500]));
    let (pa, pb, po, n) = (da.as_device_ptr(), db.as_device_ptr(), out.as_device_ptr(), 500);
    launch(&module(CONTROL), "calls", line(500), args![pa, pb, po, n]);
    let out = read(&out);
    for (i, (a, b)) in a.iter().zip(&b).enumerate() {
        let (mut result, mut extra) = (0.0f32, 0.0f32);
        if a & 1 != 0 {
            result += gcd(a.abs(), b.abs() + 1) as f32;
        } else {
            let first = if *a < 0 { -1 } else { a * 2 };
            extra = (*b as f32 + 0.5) * 2.0;
            result += first as f32 + (f64::from(*a) / 3.0) as f32;
        }
        if b & 1 != 0 {
            result += gcd(a.abs() + 1, 12) as f32;
        }
        assert_eq!(out[i], result + extra, "{a} {b}");
    }
}

#[test]
fn functions_call_themselves() {
    let _gpu = gpu();
    let out = buffer(&[0u32; 64]);
    let pointer = out.as_device_ptr();
    launch(&module(CONTROL), "recursion", block(64), args![pointer]);
    fn ackermann(m: u32, n: u32) -> u32 {
        match (m, n) {
            (0, n) => n + 1,
            (m, 0) => ackermann(m - 1, 1),
            (m, n) => ackermann(m - 1, ackermann(m, n - 1)),
        }
    }
    fn fibonacci(n: u32) -> u32 {
        if n < 2 { n } else { fibonacci(n - 1) + fibonacci(n - 2) }
    }
    let expected: Vec<u32> =
        (0..64).map(|t| if t % 3 == 0 { ackermann(2, t & 7) } else { fibonacci(t & 15) }).collect();
    assert_eq!(read(&out), expected);
}

#[test]
fn every_lane_calls_a_function_of_its_own() {
    let _gpu = gpu();
    let values: Vec<f32> = (0..100).map(|i| i as f32).collect();
    let (input, output) = (buffer(&values), buffer(&[0f32; 100]));
    let (a, b, n) = (input.as_device_ptr(), output.as_device_ptr(), 100);
    launch(&module(CONTROL), "pointers", line(100), args![a, b, n]);
    let call = |(i, x): (usize, &f32)| [x + x, x * x, -x][i % 3];
    assert_eq!(read(&output), values.iter().enumerate().map(call).collect::<Vec<f32>>());
}

#[test]
fn a_barrier_does_not_wait_for_those_who_left() {
    let _gpu = gpu();
    let module = module(CONTROL);
    for limit in [1i32, 20, 32, 50, 96] {
        let out = buffer(&vec![0i32; 2 * limit as usize]);
        let pointer = out.as_device_ptr();
        launch(&module, "early_return", ([2, 1, 1], [96, 1, 1], 0), args![pointer, limit]);
        assert_eq!(read(&out), vec![limit; 2 * limit as usize]);
    }
}

#[test]
fn a_trap_fails_the_launch() {
    let gpu = gpu();
    let module = module(CONTROL);
    let values = buffer(&(0..32).collect::<Vec<i32>>());
    let (pointer, limit) = (values.as_device_ptr(), 100i32);
    launch(&module, "asserts", block(32), args![pointer, limit]);
    let limit = 20i32;
    ok(try_launch(&module, "asserts", block(32), args![pointer, limit]));
    // SAFETY: no arguments.
    assert_eq!(code(unsafe { cust::sys::cuCtxSynchronize() }), 719);
    gpu.reset();
}

/// What ptxas would refuse, or a device would hang on, is found out here.
#[test]
fn lanes_that_wait_for_each_other_for_ever_are_a_fault() {
    let gpu = gpu();
    let stuck = r"
.version 6.0
.target sm_50
.address_size 64
.visible .entry stuck()
{
    .reg .pred %p;
    .reg .b32 %r<4>;
    mov.u32 %r1, %laneid;
    setp.lt.u32 %p, %r1, 16;
    @%p bra low;
    shfl.sync.idx.b32 %r2, %r1, 0, 31, -1;
    ret;
low:
    bar.sync 0;
    ret;
}";
    let module = module(stuck);
    ok(try_launch(&module, "stuck", block(32), &[]));
    // SAFETY: no arguments.
    assert_eq!(code(unsafe { cust::sys::cuCtxSynchronize() }), 719);
    gpu.reset();
}

#[test]
fn a_kernel_that_never_ends_is_ended_by_a_reset() {
    let gpu = gpu();
    let flag = buffer(&[0i32]);
    let pointer = flag.as_device_ptr();
    let module = module(CONTROL);
    ok(try_launch(&module, "forever", block(64), args![pointer]));
    // SAFETY: the legacy stream.
    assert_eq!(code(unsafe { cust::sys::cuStreamQuery(std::ptr::null_mut()) }), 600);
    gpu.reset();
    std::mem::forget((flag, module));
    assert_eq!(gpu.ledger().device_bytes, 0);
}

#[test]
fn indexed_branches() {
    let _gpu = gpu();
    let table = r"
.version 6.0
.target sm_50
.address_size 64
.visible .entry pick(.param .u64 out)
{
    .reg .b32 %r<5>;
    .reg .b64 %rd<4>;
    ld.param.u64 %rd1, [out];
    mov.u32 %r1, %tid.x;
    mul.wide.u32 %rd2, %r1, 4;
    add.u64 %rd1, %rd1, %rd2;
    and.b32 %r2, %r1, 3;
    ts: .branchtargets one, two, three;
    brx.idx %r2, ts;
    mov.u32 %r3, 0;
    bra.uni done;
one: mov.u32 %r3, 1;
    bra.uni done;
two: mov.u32 %r3, 2;
    bra.uni done;
three: mov.u32 %r3, 3;
done:
    st.global.u32 [%rd1], %r3;
    ret;
}";
    let out = buffer(&[9u32; 32]);
    let pointer = out.as_device_ptr();
    launch(&module(table), "pick", block(32), args![pointer]);
    let expected: Vec<u32> = (0..32).map(|t| [1, 2, 3, 0][t & 3]).collect();
    assert_eq!(read(&out), expected);
}
