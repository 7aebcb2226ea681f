//! NVRTC's arithmetic, conversions and mathematical functions, at the edges of their types.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::support::*;

/// Values at which integer arithmetic goes wrong, if it does.
fn integers() -> Vec<i64> {
    let mut values = vec![0, 1, -1, 2, -2, 3, 7, 10, -7, 31, 32, 33, 63, 64, 100, 255, 256, -128];
    for bits in [7, 8, 15, 16, 31, 32, 62] {
        values.extend([(1i64 << bits) - 1, 1 << bits, -(1 << bits), -(1 << bits) - 1]);
    }
    values.extend([i64::MAX, i64::MIN, 0x0123_4567_89ab_cdef, -0x0123_4567_89ab_cdef]);
    values
}

fn floats() -> Vec<f32> {
    let mut values = vec![
        0.0,
        1.0,
        0.5,
        1.5,
        2.5,
        3.5,
        0.1,
        3.0,
        1e-3,
        1e10,
        1e20,
        1e38,
        1e-20,
        1e-38,
        1e-40,
        1e-45,
        8_388_607.5,
        8_388_608.0,
        16_777_217.0,
        2_147_483_648.0,
        4_294_967_296.0,
        9.3e18,
        1.9e19,
        127.5,
        128.0,
        255.5,
        65_535.5,
        32_767.6,
        f32::MAX,
        f32::MIN_POSITIVE,
        f32::EPSILON,
        f32::INFINITY,
        0.333_333_34,
        0.999_999_94,
        std::f32::consts::PI,
        std::f32::consts::E,
    ];
    values.extend(values.clone().iter().map(|x| -x));
    values.push(f32::NAN);
    values
}

/// All pairs, and a third that differs, of some values.
fn triples<T: Copy>(values: &[T]) -> [Vec<T>; 3] {
    let n = values.len();
    let at = |i: usize| values[i % n];
    let pairs = 0..n * n;
    [
        pairs.clone().map(|i| at(i / n)).collect(),
        pairs.clone().map(at).collect(),
        pairs.map(|i| at(i * 7 + i / n)).collect(),
    ]
}

/// Runs `kernel` over three rows of operands; `width` results for each.
fn run<T, U>(ptx: &str, kernel: &str, [a, b, c]: &[Vec<T>; 3], width: usize) -> Vec<U>
where
    T: cust::memory::DeviceCopy,
    U: cust::memory::DeviceCopy + Default,
{
    let module = module(ptx);
    let out = buffer(&vec![U::default(); a.len() * width]);
    let (da, db, dc) = (buffer(a), buffer(b), buffer(c));
    let (pa, pb, pc) = (da.as_device_ptr(), db.as_device_ptr(), dc.as_device_ptr());
    let (po, n) = (out.as_device_ptr(), a.len() as i32);
    launch(&module, kernel, line(a.len()), args![pa, pb, pc, po, n]);
    read(&out)
}

#[test]
fn signed_words() {
    let _gpu = gpu();
    let values: Vec<i32> = integers().iter().map(|x| *x as i32).collect();
    let operands = triples(&values);
    let out = run::<i32, i32>(ARITHMETIC, "int_ops", &operands, 24);
    for (i, out) in out.chunks(24).enumerate() {
        let (x, y, z) = (operands[0][i], operands[1][i], operands[2][i]);
        let safe = if y == -1 { 1 } else { y };
        let wide = i64::from(x) * i64::from(y);
        let expected = [
            x.wrapping_add(y),
            x.wrapping_sub(y),
            x.wrapping_mul(y),
            if y == 0 { 0 } else { x / safe },
            if y == 0 { 0 } else { x % safe },
            x.wrapping_mul(y).wrapping_add(z),
            x.min(y),
            x.max(y),
            x.wrapping_abs(),
            x.wrapping_neg(),
            x & y,
            x | y,
            x ^ y,
            !x,
            x << (y & 31),
            x >> (y & 31),
            (wide >> 32) as i32,
            x.count_ones() as i32,
            x.leading_zeros() as i32,
            if x == 0 { 0 } else { x.trailing_zeros() as i32 + 1 },
            x.reverse_bits(),
            ((i64::from(x << 8 >> 8)) * i64::from(y << 8 >> 8)) as i32,
            x.abs_diff(y).wrapping_add(z.cast_unsigned()).cast_signed(),
            permuted(x, y, z),
        ];
        assert_eq!(out, expected, "{x} {y} {z}");
    }
}

/// `__byte_perm`, which looks at three bits of each digit.
fn permuted(x: i32, y: i32, selector: i32) -> i32 {
    let bytes = [x.to_le_bytes(), y.to_le_bytes()].concat();
    let digits = [0, 4, 8, 12].map(|shift| bytes[(selector >> shift & 7) as usize]);
    i32::from_le_bytes(digits)
}

#[test]
fn unsigned_words() {
    let _gpu = gpu();
    let values: Vec<u32> = integers().iter().map(|x| *x as u32).collect();
    let operands = triples(&values);
    let out = run::<u32, u32>(ARITHMETIC, "uint_ops", &operands, 16);
    for (i, out) in out.chunks(16).enumerate() {
        let (x, y, z) = (operands[0][i], operands[1][i], operands[2][i]);
        let both = u64::from(y) << 32 | u64::from(x);
        let bytes = |x: u32| x.to_le_bytes();
        let sums: Vec<u8> = bytes(x).iter().zip(bytes(y)).map(|(a, b)| a.wrapping_add(b)).collect();
        let expected = [
            x.checked_div(y).unwrap_or(0),
            x.checked_rem(y).unwrap_or(0),
            x.min(y),
            x.max(y),
            x >> (y & 31),
            ((u64::from(x) * u64::from(y)) >> 32) as u32,
            (u64::from(x & 0xff_ffff) * u64::from(y & 0xff_ffff)) as u32,
            x.abs_diff(y).wrapping_add(z),
            (both << (z & 31) >> 32) as u32,
            (both >> (z & 31)) as u32,
            (u128::from(both) << z.min(32) >> 32) as u32,
            (both >> z.min(32)) as u32,
            x >> 5 & 0x3ff,
            ((u64::from(x) + u64::from(y)) / 2) as u32,
            u32::from_le_bytes(sums.try_into().unwrap()),
            x / 7 + y % 10,
        ];
        assert_eq!(out, expected, "{x} {y} {z}");
    }
}

#[test]
fn longs() {
    let _gpu = gpu();
    let operands = triples(&integers());
    let out = run::<i64, i64>(ARITHMETIC, "long_ops", &operands, 24);
    for (i, out) in out.chunks(24).enumerate() {
        let (x, y, z) = (operands[0][i], operands[1][i], operands[2][i]);
        let safe = if y == -1 { 1 } else { y };
        let (ux, uy) = (x.cast_unsigned(), y.cast_unsigned());
        let expected = [
            x.wrapping_add(y),
            x.wrapping_sub(y),
            x.wrapping_mul(y),
            if y == 0 { 0 } else { x / safe },
            if y == 0 { 0 } else { x % safe },
            x.wrapping_mul(y).wrapping_add(z),
            x.min(y),
            x.max(y),
            x.wrapping_abs(),
            x & y,
            x | y,
            x ^ y,
            !x,
            x << (y & 63),
            x >> (y & 63),
            (ux >> (y & 63)).cast_signed(),
            ((i128::from(x) * i128::from(y)) >> 64) as i64,
            ((u128::from(ux) * u128::from(uy)) >> 64) as i64,
            i64::from(x.count_ones()),
            i64::from(x.leading_zeros()),
            if x == 0 { 0 } else { i64::from(x.trailing_zeros()) + 1 },
            x.reverse_bits(),
            ux.checked_div(uy).unwrap_or(0).cast_signed(),
            ux.checked_rem(uy).unwrap_or(0).cast_signed(),
        ];
        assert_eq!(out, expected, "{x} {y} {z}");
    }
}

#[test]
fn sums_with_carries() {
    let _gpu = gpu();
    let values: Vec<u64> = integers().iter().map(|x| x.cast_unsigned()).collect();
    let [a, b, c] = triples(&values);
    let pairs = |low: &[u64], high: &[u64]| -> Vec<u64> {
        low.iter().zip(high).flat_map(|(low, high)| [*low, *high]).collect()
    };
    let (x, y) = (pairs(&a, &b), pairs(&c, &a));
    let module = module(ARITHMETIC);
    let (dx, dy, out) = (buffer(&x), buffer(&y), buffer(&vec![0u64; 3 * x.len()]));
    let (px, py, po, n) =
        (dx.as_device_ptr(), dy.as_device_ptr(), out.as_device_ptr(), a.len() as i32);
    launch(&module, "int128_ops", line(a.len()), args![px, py, po, n]);
    for (i, out) in read(&out).chunks(6).enumerate() {
        let whole = |v: &[u64]| u128::from(v[2 * i + 1]) << 64 | u128::from(v[2 * i]);
        let joined = |low: u64, high: u64| u128::from(high) << 64 | u128::from(low);
        assert_eq!(joined(out[0], out[1]), whole(&x).wrapping_add(whole(&y)));
        assert_eq!(joined(out[2], out[3]), whole(&x).wrapping_sub(whole(&y)));
        let product = u128::from(x[2 * i]) * u128::from(y[2 * i] as u32);
        assert_eq!(joined(out[4], out[5]), product);
    }
}

/// That `result` is the one float that an exact value rounds to, if `exact` is in a wider type that
/// holds it: with the rounding's own definition, not by another implementation of it.
fn is_rounded(exact: f64, result: f32, up: Option<bool>) -> bool {
    let result_wide = f64::from(result);
    if exact.is_nan() || result.is_nan() {
        return exact.is_nan() && result.is_nan();
    }
    match up {
        Some(true) => {
            result_wide >= exact && f64::from(result.next_down()) < exact || result_wide == exact
        }
        Some(false) => {
            result_wide <= exact && f64::from(result.next_up()) > exact || result_wide == exact
        }
        // toward zero: the magnitude is not greater, and the next one out would be
        None => {
            let (magnitude, exact) = (result.abs(), exact.abs());
            f64::from(magnitude) <= exact && (f64::from(magnitude.next_up()) > exact)
                || f64::from(magnitude) == exact
        }
    }
}

fn same(a: f32, b: f32) -> bool {
    a.is_nan() && b.is_nan() || a.to_bits() == b.to_bits()
}

#[test]
fn singles() {
    let _gpu = gpu();
    let operands = triples(&floats());
    let out = run::<f32, f32>(ARITHMETIC, "float_ops", &operands, 40);
    let truth = |holds: bool| if holds { 1.0 } else { 0.0f32 };
    for (i, out) in out.chunks(40).enumerate() {
        let (x, y, z) = (operands[0][i], operands[1][i], operands[2][i]);
        let min = if x.is_nan() {
            y
        } else if y.is_nan() {
            x
        } else {
            x.min(y)
        };
        let max = if x.is_nan() {
            y
        } else if y.is_nan() {
            x
        } else {
            x.max(y)
        };
        let nearest = [
            (0, x + y),
            (1, x - y),
            (2, x * y),
            (3, x / y),
            (4, x.mul_add(y, z)),
            (5, x.sqrt()),
            (8, x.abs()),
            (9, -x),
            (10, x.floor()),
            (11, x.ceil()),
            (12, x.trunc()),
            (13, x.round_ties_even()),
            (14, x.copysign(y)),
            (27, 1.0 / x),
            (29, x.sqrt()),
            (33, if x.is_nan() { 0.0 } else { x.clamp(0.0, 1.0) + 0.0 }),
            (34, truth(x < y)),
            (35, truth(x <= y)),
            (36, truth(x == y)),
            (37, truth(x != y)),
            (38, truth(!matches!(x.partial_cmp(&y), Some(std::cmp::Ordering::Less)))),
            (39, if x.is_nan() { 1.0 } else { 2.0 * truth(x.is_infinite()) }),
        ];
        for (index, expected) in nearest {
            let same = same(out[index], expected);
            // (a NaN's sign is nobody's business)
            assert!(
                same || x.is_nan() && out[index].is_nan(),
                "{index}: {x:e} {y:e} {z:e}: {} {expected}",
                out[index]
            );
        }
        assert!(out[6] == min || same(out[6], min), "min {x} {y}");
        assert!(out[7] == max || same(out[7], max), "max {x} {y}");
    }
}

#[test]
fn singles_rounded_otherwise() {
    let _gpu = gpu();
    let finite: Vec<f32> =
        floats().into_iter().filter(|x| x.abs() < 1e15 && x.abs() > 1e-15).collect();
    let operands = triples(&finite);
    let out = run::<f32, f32>(ARITHMETIC, "float_ops", &operands, 40);
    for (i, out) in out.chunks(40).enumerate() {
        let [x, y, z] = [0, 1, 2].map(|j| f64::from(operands[j][i]));
        // products of singles are exact in doubles, sums of such magnitudes nearly always
        let checks = [(18, x * y, None), (19, x * y, Some(true)), (20, x * y, Some(false))];
        for (index, exact, up) in checks {
            assert!(is_rounded(exact, out[index], up), "{index}: {x:e} {y:e}: {:e}", out[index]);
        }
        for (index, exact, up) in [
            (15, sum(x, y), None),
            (16, sum(x, y), Some(true)),
            (17, sum(x, y), Some(false)),
            (21, sum(x * y, z), None),
            (22, sum(x * y, z), Some(true)),
            (23, sum(x * y, z), Some(false)),
        ] {
            let Some(exact) = exact else { continue };
            assert!(
                is_rounded(exact, out[index], up),
                "{index}: {x:e} {y:e} {z:e}: {:e}",
                out[index]
            );
        }
        // quotients and roots by what they mean: q * y is on the right side of x
        let side = |q: f32| (f64::from(q) * y.abs()).total_cmp(&(x * y.signum()));
        use std::cmp::Ordering::{Greater, Less};
        assert_ne!(side(out[25]), Less, "up: {x:e} / {y:e}");
        assert_ne!(side(out[26]), Greater, "down: {x:e} / {y:e}");
        assert!(out[25] == out[26] || out[26].next_up() == out[25], "{x:e} / {y:e}");
        assert!(out[24] == out[25] || out[24] == out[26]);
        assert!(out[24].abs() <= out[25].abs() && out[24].abs() <= out[26].abs());
        if x > 0.0 {
            let square = |root: f32| f64::from(root) * f64::from(root);
            assert!(square(out[32]) <= x && square(out[31]) >= x);
            assert!(out[30] == out[32]);
            assert!(f64::from(out[28]) * x >= 1.0 && f64::from(out[28].next_down()) * x < 1.0);
        }
    }
}

/// The sum, if it is exact.
fn sum(a: f64, b: f64) -> Option<f64> {
    let sum = a + b;
    let error = (a - (sum - b)) + (b - (sum - (sum - b)));
    (error == 0.0).then_some(sum)
}

#[test]
fn doubles() {
    let _gpu = gpu();
    let mut values: Vec<f64> = floats().iter().map(|x| f64::from(*x)).collect();
    values.extend([0.1, 1e300, -1e300, 1e-300, 5e-324, f64::MAX, 1.0 / 3.0]);
    let operands = triples(&values);
    let out = run::<f64, f64>(ARITHMETIC, "double_ops", &operands, 32);
    for (i, out) in out.chunks(32).enumerate() {
        let (x, y, z) = (operands[0][i], operands[1][i], operands[2][i]);
        let order = match x.partial_cmp(&y) {
            Some(std::cmp::Ordering::Less) => 1.0,
            Some(std::cmp::Ordering::Equal) => 2.0,
            Some(std::cmp::Ordering::Greater) => 3.0,
            None => 4.0,
        };
        let class = if x.is_nan() {
            1.0
        } else if x.is_infinite() {
            2.0
        } else {
            0.0
        };
        let nearest = [
            (0, x + y),
            (1, x - y),
            (2, x * y),
            (3, x / y),
            (4, x.mul_add(y, z)),
            (5, x.sqrt()),
            (8, x.abs()),
            (9, x.floor()),
            (10, x.ceil()),
            (11, x.trunc()),
            (12, x.round_ties_even()),
            (13, x.copysign(y)),
            (26, 1.0 / x),
            (30, order),
            (31, class),
        ];
        for (index, expected) in nearest {
            let same = out[index].to_bits() == expected.to_bits();
            assert!(same || expected.is_nan() && out[index].is_nan(), "{index}: {x:e} {y:e}");
        }
        // the directed results enclose the nearest one, and are next to each other
        for (nearest, down, up, zero) in
            [(0, 16, 15, 14), (2, 19, 18, 17), (4, 22, 21, 20), (3, 25, 24, 23)]
        {
            let [nearest, down, up, zero] = [nearest, down, up, zero].map(|i| out[i]);
            if nearest.is_nan() {
                assert!(down.is_nan() && up.is_nan() && zero.is_nan());
                continue;
            }
            assert!(down <= nearest && nearest <= up, "{x:e} {y:e}: {down:e} {nearest:e} {up:e}");
            assert!(down == up || down.next_up() == up);
            assert_eq!(zero.abs(), down.abs().min(up.abs()));
        }
        if x > 0.0 && x.is_finite() {
            assert!(out[29] <= out[5] && out[5] <= out[28] && out[27] == out[29]);
            assert!(out[28] == out[29] || out[29].next_up() == out[28]);
        }
    }
}

#[test]
fn floats_become_integers() {
    let _gpu = gpu();
    let module = module(CONVERT);
    let values = floats();
    let (input, output) = (buffer(&values), buffer(&vec![0i64; values.len() * 24]));
    let (a, b, n) = (input.as_device_ptr(), output.as_device_ptr(), values.len() as i32);
    launch(&module, "from_float", line(values.len()), args![a, b, n]);
    for (x, out) in values.iter().zip(read(&output).chunks(24)) {
        let (even, up, down) = (x.round_ties_even(), x.ceil(), x.floor());
        // a NaN is 0 in 32 bits, and the least or the middle value in 64
        let long = |y: f32| if y.is_nan() { i64::MIN } else { y as i64 };
        let ulong = |y: f32| if y.is_nan() { i64::MIN } else { (y as u64).cast_signed() };
        let expected = [
            (0, (*x as i32).into()),
            (1, (*x as u32).into()),
            (2, long(*x)),
            (3, ulong(*x)),
            (8, (even as i32).into()),
            (9, (up as i32).into()),
            (10, (down as i32).into()),
            (11, (even as u32).into()),
            (12, long(even)),
            (13, long(up)),
            (14, ulong(down)),
            (15, x.to_bits().cast_signed().into()),
            (17, long(even)),
            (19, (*x != 0.0).into()),
        ];
        for (index, expected) in expected {
            assert_eq!(out[index], expected, "{index}: {x:e}");
        }
        if !x.is_nan() {
            assert_eq!(out[16], f64::from(*x).to_bits().cast_signed());
            assert_eq!(out[18], long(x.round()), "llroundf {x:e}");
            assert_eq!(out[20], i64::from(x.round().to_bits()), "roundf {x:e}");
        }
        if x.abs() < 128.0 {
            // (beyond its range a conversion is not defined in C; NVRTC goes by an unsigned word)
            let unsigned = *x as u32;
            let narrow: [i64; 4] = [
                (*x as i16).into(),
                (unsigned as u16).into(),
                (*x as i8).into(),
                (unsigned as u8).into(),
            ];
            assert_eq!(out[4..8], narrow, "{x}");
        }
    }
}

#[test]
fn doubles_become_anything() {
    let _gpu = gpu();
    let module = module(CONVERT);
    let mut values: Vec<f64> = floats().iter().map(|x| f64::from(*x)).collect();
    values.extend([0.1, 1e-46, 3e38, 4e38, -4e38, 1e300, 1.0 + 1e-10, -1.0 - 1e-10, 9e15 + 0.5]);
    let (input, output) = (buffer(&values), buffer(&vec![0i64; values.len() * 16]));
    let (a, b, n) = (input.as_device_ptr(), output.as_device_ptr(), values.len() as i32);
    launch(&module, "from_double", line(values.len()), args![a, b, n]);
    for (x, out) in values.iter().zip(read(&output).chunks(16)) {
        if x.is_nan() {
            continue;
        }
        let bits = x.to_bits();
        let expected = [
            (0, (*x as i32).into()),
            (1, (*x as u32).into()),
            (2, *x as i64),
            (3, (*x as u64).cast_signed()),
            (6, (x.round_ties_even() as i32).into()),
            (7, (x.ceil() as i32).into()),
            (8, x.floor() as i64),
            (9, (*x as f32).to_bits().into()),
            (13, ((bits >> 32) as i32).into()),
            (14, (bits as i32).into()),
            (15, bits.rotate_left(32).cast_signed()),
        ];
        for (index, expected) in expected {
            assert_eq!(out[index], expected, "{index}: {x:e}");
        }
        let [zero, up, down] = [10, 11, 12].map(|i| f32::from_bits(out[i] as u32));
        assert!(
            is_rounded(*x, zero, None) && is_rounded(*x, up, Some(true)),
            "{x:e} {zero:e} {up:e}"
        );
        assert!(is_rounded(*x, down, Some(false)), "{x:e} {down:e}");
    }
}

#[test]
fn integers_become_floats() {
    let _gpu = gpu();
    let module = module(CONVERT);
    let mut values = integers();
    values.extend([16_777_217, 33_554_435, (1 << 53) + 1, -(1 << 53) - 1, 0x7fff_ff7f_ffff_ffff]);
    let (input, output) = (buffer(&values), buffer(&vec![0f64; values.len() * 24]));
    let (a, b, n) = (input.as_device_ptr(), output.as_device_ptr(), values.len() as i32);
    launch(&module, "from_long", line(values.len()), args![a, b, n]);
    for (x, out) in values.iter().zip(read(&output).chunks(24)) {
        let unsigned = x.cast_unsigned();
        let expected = [
            (0, f64::from(*x as i32 as f32)),
            (1, f64::from(*x as u32 as f32)),
            (2, f64::from(*x as f32)),
            (3, f64::from(unsigned as f32)),
            (4, f64::from(*x as i32)),
            (5, f64::from(*x as u32)),
            (6, *x as f64),
            (7, unsigned as f64),
            (15, f64::from(*x as i16)),
            (16, f64::from(*x as u8)),
            (17, f64::from(*x as i8)),
            (18, f64::from(*x as i16)),
            (19, f64::from(*x as u16)),
            (20, f64::from(*x as i8)),
            (21, f64::from(*x as i32)),
            (22, f64::from(*x as u32)),
            (23, if *x == 0 { 0.0 } else { 1.0 }),
        ];
        for (index, expected) in expected {
            assert_eq!(out[index], expected, "{index}: {x}");
        }
        let exact = i128::from(*x);
        let at = |i: usize| out[i] as i128;
        assert!(at(8).abs() <= exact.abs() && at(10) <= exact && exact <= at(9), "{x}");
        assert!(at(11).abs() <= exact.abs() && at(12) >= exact, "{x}");
        assert!(at(13).abs() <= i128::from(*x as i32).abs() && at(14) >= i128::from(*x as u32));
    }
}

#[test]
fn halves_there_and_back() {
    let _gpu = gpu();
    let module = module(CONVERT);
    let values = [
        (0.0f32, 0x0000u16),
        (-0.0, 0x8000),
        (1.0, 0x3c00),
        (-2.0, 0xc000),
        (65_504.0, 0x7bff),
        (65_520.0, 0x7c00),
        (65_519.0, 0x7bff),
        (6.0e-8, 0x0001),
        (2.9e-8, 0x0000),
        (0.1, 0x2e66),
        (f32::INFINITY, 0x7c00),
        (1.000_488_3, 0x3c00),
        (1.001_464_8, 0x3c02),
    ];
    let input = buffer(&values.map(|(float, _)| float));
    let (half, back) = (buffer(&[0u16; 13]), buffer(&[0f32; 13]));
    let (a, b, c, n) = (input.as_device_ptr(), half.as_device_ptr(), back.as_device_ptr(), 13);
    launch(&module, "halves", line(13), args![a, b, c, n]);
    assert_eq!(read(&half), values.map(|(_, half)| half));
    let back = read(&back);
    assert_eq!(back[4..7], [65_504.0, f32::INFINITY, 65_504.0]);
    assert!((back[9] - 0.1).abs() < 1e-4);
}

/// The error in units of the last place.
fn ulps(result: f32, exact: f64) -> f64 {
    if exact.is_nan() || result.is_nan() {
        return if exact.is_nan() && result.is_nan() { 0.0 } else { f64::INFINITY };
    }
    let rounded = exact as f32;
    if rounded == result {
        return 0.0;
    }
    let unit = f64::from(rounded.abs().next_up()) - f64::from(rounded.abs());
    (f64::from(result) - exact).abs() / unit.max(f64::from(f32::from_bits(1)))
}

/// CUDA's own documentation gives these functions a greatest error of a few units each.
#[test]
fn single_functions() {
    let _gpu = gpu();
    let values: Vec<f32> = vec![
        0.0, 0.1, 0.5, 0.9, 1.0, 1.1, 2.0, 3.7, 10.0, 20.5, -0.1, -0.5, -0.9, -1.0, -2.5, -7.25,
        0.001, -0.001,
    ];
    let [a, b, _] = triples(&values);
    let module = module(MATH);
    let (da, db, out) = (buffer(&a), buffer(&b), buffer(&vec![0f32; a.len() * 36]));
    let (pa, pb, po, n) =
        (da.as_device_ptr(), db.as_device_ptr(), out.as_device_ptr(), a.len() as i32);
    launch(&module, "float_math", line(a.len()), args![pa, pb, po, n]);
    let out = read(&out);
    for (i, out) in out.chunks(36).enumerate() {
        let (x, y) = (f64::from(a[i]), f64::from(b[i]));
        let expected = [
            (0, x.exp()),
            (1, x.exp2()),
            (2, 10f64.powf(x)),
            (3, x.exp_m1()),
            (4, x.ln()),
            (5, x.log2()),
            (6, x.log10()),
            (7, x.ln_1p()),
            (8, x.sin()),
            (9, x.cos()),
            (10, x.tan()),
            (11, x.asin()),
            (12, x.acos()),
            (13, x.atan()),
            (14, x.atan2(y)),
            (15, x.sinh()),
            (16, x.cosh()),
            (17, x.tanh()),
            (18, x.powf(y)),
            (19, x.sqrt()),
            (20, 1.0 / x.sqrt()),
            (21, x.cbrt()),
            (22, x.hypot(y)),
            (25, x % y),
            (27, x * 8.0),
            (30, y.sin()),
            (31, y.cos()),
            (33, 1.0 / (1.0 + (-x).exp())),
        ];
        for (index, expected) in expected {
            let error = ulps(out[index], expected);
            assert!(error <= 8.0, "{index}: {x} {y}: {} for {expected}, {error} ulps", out[index]);
        }
        assert!((f64::from(out[23]) + f64::from(out[24]) - 1.0).abs() < 1e-5, "erf + erfc");
    }
    // some values of erf and gamma, from tables
    let at = |x: f32, index: usize| {
        let i = a.iter().zip(&b).position(|(a, b)| *a == x && *b == x).unwrap();
        f64::from(out[i * 36 + index])
    };
    for (x, erf) in [(0.5, 0.520_499_877_8), (1.0, 0.842_700_792_9), (2.0, 0.995_322_265)] {
        assert!((at(x, 23) - erf).abs() < 1e-6);
    }
    for (x, gamma) in [(0.5, 1.772_453_850_9), (1.0, 1.0), (2.0, 1.0), (10.0, 362_880.0)] {
        assert!((at(x, 28) / gamma - 1.0).abs() < 1e-5, "tgamma({x}) = {}", at(x, 28));
        assert!((at(x, 29) - f64::ln(gamma)).abs() < 1e-4, "lgamma({x}) = {}", at(x, 29));
    }
}

/// Arguments so large that sine and cosine reduce them in a device function.
#[test]
fn trigonometry_of_large_arguments() {
    let _gpu = gpu();
    let a: Vec<f32> = vec![1e5, 1e6, 123_456.79, 1e10, -3.4e12, 1e20, 1e30, 3e38, -7e37];
    let n = a.len() as i32;
    let module = module(MATH);
    let (da, out) = (buffer(&a), buffer(&vec![0f32; a.len() * 36]));
    let (pa, po) = (da.as_device_ptr(), out.as_device_ptr());
    launch(&module, "float_math", line(a.len()), args![pa, pa, po, n]);
    for (x, out) in a.iter().zip(read(&out).chunks(36)) {
        let x = f64::from(*x);
        for (index, expected) in [(8, x.sin()), (9, x.cos())] {
            assert!(ulps(out[index], expected) <= 4.0, "{index}: {x}: {} {expected}", out[index]);
        }
    }
    let a: Vec<f64> = vec![1e5, 1e10, 1e15, -1e22, 1e100, 1e300];
    let n = a.len() as i32;
    let (da, out) = (buffer(&a), buffer(&vec![0f64; a.len() * 24]));
    let (pa, po) = (da.as_device_ptr(), out.as_device_ptr());
    launch(&module, "double_math", line(a.len()), args![pa, pa, po, n]);
    for (x, out) in a.iter().zip(read(&out).chunks(24)) {
        assert!((out[7] - x.sin()).abs() < 1e-15 && (out[8] - x.cos()).abs() < 1e-15, "{x}");
    }
}

#[test]
fn double_functions() {
    let _gpu = gpu();
    let values = [0.0f64, 0.1, 0.5, 0.9, 1.0, 1.5, 3.7, 12.25, -0.1, -0.5, -0.9, -3.5];
    let [a, b, _] = triples(&values);
    let module = module(MATH);
    let (da, db, out) = (buffer(&a), buffer(&b), buffer(&vec![0f64; a.len() * 24]));
    let (pa, pb, po, n) =
        (da.as_device_ptr(), db.as_device_ptr(), out.as_device_ptr(), a.len() as i32);
    launch(&module, "double_math", line(a.len()), args![pa, pb, po, n]);
    for (i, out) in read(&out).chunks(24).enumerate() {
        let (x, y) = (a[i], b[i]);
        let expected = [
            x.exp(),
            x.exp2(),
            x.exp_m1(),
            x.ln(),
            x.log2(),
            x.log10(),
            x.ln_1p(),
            x.sin(),
            x.cos(),
            x.tan(),
            x.asin(),
            x.acos(),
            x.atan(),
            x.atan2(y),
            x.sinh(),
            x.cosh(),
            x.tanh(),
            x.powf(y),
            1.0 / x.sqrt(),
            x.cbrt(),
            x.hypot(y),
        ];
        for (index, expected) in expected.into_iter().enumerate() {
            let near = (out[index] - expected).abs() <= 1e-14 * expected.abs().max(1e-300);
            let equal = out[index] == expected || out[index].is_nan() && expected.is_nan();
            assert!(near || equal, "{index}: {x} {y}: {} {expected}", out[index]);
        }
        assert!(out[22] == x % y || out[22].is_nan() && (x % y).is_nan(), "fmod {x} {y}");
        assert!((out[21] + out[23] - 1.0).abs() < 1e-15, "erf + erfc");
    }
}

#[test]
fn fast_functions() {
    let _gpu = gpu();
    let a: Vec<f32> = (1..200).map(|i| i as f32 * 0.03).collect();
    let b: Vec<f32> = (1..200).map(|i| 3.0 - i as f32 * 0.01).collect();
    let module = module(MATH);
    let (da, db, out) = (buffer(&a), buffer(&b), buffer(&vec![0f32; a.len() * 8]));
    let (pa, pb, po, n) =
        (da.as_device_ptr(), db.as_device_ptr(), out.as_device_ptr(), a.len() as i32);
    launch(&module, "fast_math", line(a.len()), args![pa, pb, po, n]);
    for (i, out) in read(&out).chunks(8).enumerate() {
        let (x, y) = (f64::from(a[i]), f64::from(b[i]));
        let expected =
            [x.exp(), x.ln(), x.sin(), x.cos(), x.powf(y), x / y, x.tan(), 10f64.powf(x)];
        for (index, expected) in expected.into_iter().enumerate() {
            let error = (f64::from(out[index]) - expected).abs();
            assert!(
                error <= 1e-5 * expected.abs().max(1.0),
                "{index}: {x} {y}: {} {expected}",
                out[index]
            );
        }
    }
}

/// The same kernels on values that nobody thought of.
#[test]
fn random_operands() {
    let _gpu = gpu();
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 4,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let column = || prop::collection::vec(any::<u64>(), 512);
    runner
        .run(&(column(), column(), column()), |(a, b, c)| {
            let words = [&a, &b, &c].map(|v| v.iter().map(|x| *x as u32).collect::<Vec<u32>>());
            let out = run::<u32, u32>(ARITHMETIC, "uint_ops", &words, 16);
            for (i, out) in out.chunks(16).enumerate() {
                let (x, y) = (words[0][i], words[1][i]);
                prop_assert_eq!(out[0], x.checked_div(y).unwrap_or(0));
                prop_assert_eq!(out[5], ((u64::from(x) * u64::from(y)) >> 32) as u32);
                prop_assert_eq!(out[15], x / 7 + y % 10);
            }
            let floats =
                words.clone().map(|v| v.into_iter().map(f32::from_bits).collect::<Vec<f32>>());
            let out = run::<f32, f32>(ARITHMETIC, "float_ops", &floats, 40);
            for (i, out) in out.chunks(40).enumerate() {
                let (x, y, z) = (floats[0][i], floats[1][i], floats[2][i]);
                for (got, expected) in
                    [(out[0], x + y), (out[2], x * y), (out[3], x / y), (out[4], x.mul_add(y, z))]
                {
                    prop_assert!(
                        same(got, expected),
                        "{:e} {:e} {:e}: {:e} {:e}",
                        x,
                        y,
                        z,
                        got,
                        expected
                    );
                }
            }
            Ok(())
        })
        .unwrap();
}
