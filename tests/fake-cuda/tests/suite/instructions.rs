//! Single instructions, on operands that nobody chose: each against an expression in Rust.
//!
//! For every instruction a kernel is written here that applies it to operands from memory. Each is
//! run twice: by all lanes, and under a guard by some of them, the others keeping what they had.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::*;

/// How many operands an instruction is tried on.
const N: usize = 128;

/// A kernel that computes `body` from `a`, `b`, `c` to `d`, which are registers of the types `to` and
/// `from`.
fn kernel(body: &str, to: &str, from: [&str; 3]) -> String {
    let size = |ty: &str| match ty.trim_start_matches(|c: char| c.is_ascii_alphabetic()) {
        "16" => 2,
        "32" => 4,
        _ => 8,
    };
    let load = |name: &str, number: u32, ty: &str| {
        format!(
            "ld.param.u64 %rd1, [p{number}];\n\
             mad.wide.u32 %rd1, %i, {}, %rd1;\n\
             ld.global.{ty} {name}, [%rd1];\n",
            size(ty)
        )
    };
    let loads = [load("a", 1, from[0]), load("b", 2, from[1]), load("c", 3, from[2])].concat();
    format!(
        ".version 7.8\n.target sm_80\n.address_size 64\n\
         .visible .entry k(.param .u64 p0, .param .u64 p1, .param .u64 p2, .param .u64 p3, .param .u32 odd)\n{{\n\
         .reg .{to} d, old; .reg .{} a; .reg .{} b; .reg .{} c;\n\
         .reg .pred p, q, r; .reg .b32 %i, %t; .reg .b64 %rd1;\n\
         mov.u32 %i, %ctaid.x;\nmov.u32 %t, %tid.x;\nmad.lo.u32 %i, %i, 128, %t;\n\
         {loads}\
         ld.param.u64 %rd1, [p0];\nmad.wide.u32 %rd1, %i, {}, %rd1;\nld.global.{to} d, [%rd1];\n\
         ld.param.u32 %t, [odd];\nand.b32 %t, %t, %i;\nsetp.eq.u32 p, %t, 0;\n\
         {body}\n\
         st.global.{to} [%rd1], d;\nret;\n}}\n",
        from[0],
        from[1],
        from[2],
        size(to),
    )
}

/// A value with many edge cases among its bits.
fn bits() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (0u64..70),
        (0u64..70).prop_map(u64::wrapping_neg),
        (0u32..64).prop_map(|shift| 1 << shift),
        (0u32..64).prop_map(|shift| (1u64 << shift) - 1),
        // singles in both halves, special ones among them
        any::<f32>().prop_map(|x| u64::from(x.to_bits()) * 0x1_0000_0001),
        prop::sample::select(vec![0f32, -0.0, 1.0, -1.0, f32::INFINITY, f32::NAN, f32::MAX, 1e-45])
            .prop_map(|x| u64::from(x.to_bits()) * 0x1_0000_0001),
        any::<f64>().prop_map(f64::to_bits),
        prop::sample::select(vec![0f64, -0.0, 1.0, 2.5, f64::INFINITY, f64::NAN, f64::MAX, 5e-324])
            .prop_map(f64::to_bits),
    ]
}

/// Values of a type, to and from 64 bits.
trait Value: cust::memory::DeviceCopy + Default + Copy {
    fn of(bits: u64) -> Self;
    fn bits(self) -> u64;
}

macro_rules! value {
    ($($ty:ident)*) => { $( impl Value for $ty {
        fn of(bits: u64) -> Self { bits as $ty }
        fn bits(self) -> u64 { self.into() }
    } )* };
}

value! { u16 u32 u64 }

/// Runs `body` on random operands, and compares every result with `expected` of the operands' bits.
/// Results are compared as they are, or as `alike` says.
fn check_by<D: Value, A: Value, B: Value, C: Value>(
    body: &str,
    (to, from): (&str, [&str; 3]),
    expected: impl Fn(A, B, C) -> D,
    alike: impl Fn(D, D) -> bool,
) {
    let text = kernel(body, to, from);
    let guarded = kernel(&format!("@p {body}"), to, from);
    let modules = [module(&text), module(&guarded)];
    let operands = || vec(bits(), N);
    let config = Config { cases: 3, failure_persistence: None, ..Config::default() };
    let run = |module: &cust::module::Module, odd: u32, [a, b, c]: &[Vec<u64>; 3]| -> Vec<u64> {
        let (da, db, dc) = (
            buffer(&a.iter().map(|bits| A::of(*bits)).collect::<Vec<A>>()),
            buffer(&b.iter().map(|bits| B::of(*bits)).collect::<Vec<B>>()),
            buffer(&c.iter().map(|bits| C::of(*bits)).collect::<Vec<C>>()),
        );
        let out = buffer(&[D::of(0x5151_5151_5151_5151); N]);
        let (pa, pb, pc) = (da.as_device_ptr(), db.as_device_ptr(), dc.as_device_ptr());
        let po = out.as_device_ptr();
        launch(module, "k", line(N), args![po, pa, pb, pc, odd]);
        read(&out).into_iter().map(Value::bits).collect()
    };
    TestRunner::new(config)
        .run(&(operands(), operands(), operands()), |(a, b, c)| {
            let operands = [a, b, c];
            let (all, some) = (run(&modules[0], 0, &operands), run(&modules[1], 1, &operands));
            for i in 0..N {
                let [a, b, c] = [0, 1, 2].map(|j| operands[j][i]);
                let expected = expected(A::of(a), B::of(b), C::of(c));
                let result = D::of(all[i]);
                prop_assert!(
                    alike(result, expected),
                    "{}: {:#x} {:#x} {:#x}: {:#x}, not {:#x}",
                    body,
                    a,
                    b,
                    c,
                    all[i],
                    expected.bits()
                );
                let kept = if i & 1 == 0 { expected } else { D::of(0x5151_5151_5151_5151) };
                prop_assert!(alike(D::of(some[i]), kept), "{} under a guard, lane {}", body, i);
            }
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

fn check<D: Value, A: Value, B: Value, C: Value>(
    body: &str,
    types: (&str, [&str; 3]),
    expected: impl Fn(A, B, C) -> D,
) {
    check_by(body, types, expected, |a, b| a.bits() == b.bits());
}

const HALVES: (&str, [&str; 3]) = ("b16", ["b16"; 3]);
const WORDS: (&str, [&str; 3]) = ("b32", ["b32"; 3]);
const LONGS: (&str, [&str; 3]) = ("b64", ["b64"; 3]);
/// Counts are words, whatever is counted or shifted.
const HALVES_BY_WORD: (&str, [&str; 3]) = ("b16", ["b16", "b32", "b32"]);
const LONGS_BY_WORDS: (&str, [&str; 3]) = ("b64", ["b64", "b32", "b32"]);

fn s16(x: u16) -> i16 {
    x.cast_signed()
}
fn s32(x: u32) -> i32 {
    x.cast_signed()
}
fn s64(x: u64) -> i64 {
    x.cast_signed()
}

#[test]
fn sixteen_bits() {
    let _gpu = gpu();
    check("add.u16 d, a, b;", HALVES, |a: u16, b: u16, _: u16| a.wrapping_add(b));
    check("sub.s16 d, a, b;", HALVES, |a: u16, b: u16, _: u16| a.wrapping_sub(b));
    check("mul.lo.u16 d, a, b;", HALVES, |a: u16, b: u16, _: u16| a.wrapping_mul(b));
    check("mul.hi.s16 d, a, b;", HALVES, |a: u16, b: u16, _: u16| {
        ((i32::from(s16(a)) * i32::from(s16(b))) >> 16) as u16
    });
    check("mul.hi.u16 d, a, b;", HALVES, |a: u16, b: u16, _: u16| {
        ((u32::from(a) * u32::from(b)) >> 16) as u16
    });
    check("mad.lo.s16 d, a, b, c;", HALVES, |a: u16, b: u16, c: u16| {
        a.wrapping_mul(b).wrapping_add(c)
    });
    check("min.s16 d, a, b;", HALVES, |a: u16, b: u16, _: u16| s16(a).min(s16(b)).cast_unsigned());
    check("max.u16 d, a, b;", HALVES, |a: u16, b: u16, _: u16| a.max(b));
    check("neg.s16 d, a;", HALVES, |a: u16, _: u16, _: u16| a.wrapping_neg());
    check("abs.s16 d, a;", HALVES, |a: u16, _: u16, _: u16| s16(a).wrapping_abs().cast_unsigned());
    check("div.s16 d, a, b;", HALVES, |a: u16, b: u16, _: u16| {
        if b == 0 { u16::MAX } else { s16(a).wrapping_div(s16(b)).cast_unsigned() }
    });
    check("shl.b16 d, a, b;", HALVES_BY_WORD, |a: u16, b: u32, _: u32| {
        a.checked_shl(b).unwrap_or(0)
    });
    check("shr.u16 d, a, b;", HALVES_BY_WORD, |a: u16, b: u32, _: u32| {
        a.checked_shr(b).unwrap_or(0)
    });
    check("shr.s16 d, a, b;", HALVES_BY_WORD, |a: u16, b: u32, _: u32| {
        (s16(a) >> b.min(15)).cast_unsigned()
    });
    check("xor.b16 d, a, b;", HALVES, |a: u16, b: u16, _: u16| a ^ b);
    check("not.b16 d, a;", HALVES, |a: u16, _: u16, _: u16| !a);
}

#[test]
fn words() {
    let _gpu = gpu();
    check("add.sat.s32 d, a, b;", WORDS, |a: u32, b: u32, _: u32| {
        s32(a).saturating_add(s32(b)).cast_unsigned()
    });
    check("sub.sat.s32 d, a, b;", WORDS, |a: u32, b: u32, _: u32| {
        s32(a).saturating_sub(s32(b)).cast_unsigned()
    });
    check("mul.hi.s32 d, a, b;", WORDS, |a: u32, b: u32, _: u32| {
        ((i64::from(s32(a)) * i64::from(s32(b))) >> 32) as u32
    });
    check("mad.hi.u32 d, a, b, c;", WORDS, |a: u32, b: u32, c: u32| {
        (((u64::from(a) * u64::from(b)) >> 32) as u32).wrapping_add(c)
    });
    check("mad.hi.sat.s32 d, a, b, c;", WORDS, |a: u32, b: u32, c: u32| {
        (((i64::from(s32(a)) * i64::from(s32(b))) >> 32) as i32)
            .saturating_add(s32(c))
            .cast_unsigned()
    });
    check("div.u32 d, a, b;", WORDS, |a: u32, b: u32, _: u32| a.checked_div(b).unwrap_or(u32::MAX));
    check("div.s32 d, a, b;", WORDS, |a: u32, b: u32, _: u32| {
        if b == 0 { u32::MAX } else { s32(a).wrapping_div(s32(b)).cast_unsigned() }
    });
    check("rem.s32 d, a, b;", WORDS, |a: u32, b: u32, _: u32| {
        if b == 0 { a } else { s32(a).wrapping_rem(s32(b)).cast_unsigned() }
    });
    check("rem.u32 d, a, b;", WORDS, |a: u32, b: u32, _: u32| a.checked_rem(b).unwrap_or(a));
    check("cnot.b32 d, a;", WORDS, |a: u32, _: u32, _: u32| u32::from(a == 0));
    check("shl.b32 d, a, b;", WORDS, |a: u32, b: u32, _: u32| a.checked_shl(b).unwrap_or(0));
    check("shr.u32 d, a, b;", WORDS, |a: u32, b: u32, _: u32| a.checked_shr(b).unwrap_or(0));
    check("shr.s32 d, a, b;", WORDS, |a: u32, b: u32, _: u32| {
        (s32(a) >> b.min(31)).cast_unsigned()
    });
    check("sad.s32 d, a, b, c;", WORDS, |a: u32, b: u32, c: u32| {
        s32(a).abs_diff(s32(b)).wrapping_add(c)
    });
    check("bfind.u32 d, a;", WORDS, |a: u32, _: u32, _: u32| a.checked_ilog2().unwrap_or(u32::MAX));
    check("bfind.s32 d, a;", WORDS, |a: u32, _: u32, _: u32| {
        let a = if s32(a) < 0 { !a } else { a };
        a.checked_ilog2().unwrap_or(u32::MAX)
    });
    check("bfind.shiftamt.u32 d, a;", WORDS, |a: u32, _: u32, _: u32| {
        a.checked_ilog2().map_or(u32::MAX, |at| 31 - at)
    });
    check("lop3.b32 d, a, b, c, 0x96;", WORDS, |a: u32, b: u32, c: u32| a ^ b ^ c);
    check("lop3.b32 d, a, b, c, 0xe8;", WORDS, |a: u32, b: u32, c: u32| a & b | b & c | a & c);
    check("prmt.b32 d, a, b, 0x5410;", WORDS, |a: u32, b: u32, _: u32| b << 16 | a & 0xffff);
    check("shf.l.wrap.b32 d, a, b, c;", WORDS, |a: u32, b: u32, c: u32| {
        ((u64::from(b) << 32 | u64::from(a)) << (c & 31) >> 32) as u32
    });
    check("shf.r.clamp.b32 d, a, b, c;", WORDS, |a: u32, b: u32, c: u32| {
        ((u64::from(b) << 32 | u64::from(a)) >> c.min(32)) as u32
    });
    check("mul24.hi.u32 d, a, b;", WORDS, |a: u32, b: u32, _: u32| {
        ((u64::from(a & 0xff_ffff) * u64::from(b & 0xff_ffff)) >> 16) as u32
    });
    check("dp4a.u32.u32 d, a, b, c;", WORDS, |a: u32, b: u32, c: u32| {
        let products = a.to_le_bytes().into_iter().zip(b.to_le_bytes());
        products.fold(c, |sum, (a, b)| sum.wrapping_add(u32::from(a) * u32::from(b)))
    });
    check("dp4a.s32.s32 d, a, b, c;", WORDS, |a: u32, b: u32, c: u32| {
        let products = a.to_le_bytes().into_iter().zip(b.to_le_bytes());
        let signed = |x: u8| i32::from(x.cast_signed());
        products.fold(c, |sum, (a, b)| sum.wrapping_add((signed(a) * signed(b)).cast_unsigned()))
    });
    check(
        "slct.u32.s32 d, a, b, c;",
        WORDS,
        |a: u32, b: u32, c: u32| if s32(c) >= 0 { a } else { b },
    );
}

#[test]
fn longs() {
    let _gpu = gpu();
    check("mul.lo.u64 d, a, b;", LONGS, |a: u64, b: u64, _: u64| a.wrapping_mul(b));
    check("mul.hi.u64 d, a, b;", LONGS, |a: u64, b: u64, _: u64| {
        ((u128::from(a) * u128::from(b)) >> 64) as u64
    });
    check("mul.hi.s64 d, a, b;", LONGS, |a: u64, b: u64, _: u64| {
        ((i128::from(s64(a)) * i128::from(s64(b))) >> 64) as u64
    });
    check("mad.lo.s64 d, a, b, c;", LONGS, |a: u64, b: u64, c: u64| {
        a.wrapping_mul(b).wrapping_add(c)
    });
    check("div.s64 d, a, b;", LONGS, |a: u64, b: u64, _: u64| {
        if b == 0 { u64::MAX } else { s64(a).wrapping_div(s64(b)).cast_unsigned() }
    });
    check("rem.u64 d, a, b;", LONGS, |a: u64, b: u64, _: u64| a.checked_rem(b).unwrap_or(a));
    check("shl.b64 d, a, b;", LONGS_BY_WORDS, |a: u64, b: u32, _: u32| {
        a.checked_shl(b).unwrap_or(0)
    });
    check("shr.s64 d, a, b;", LONGS_BY_WORDS, |a: u64, b: u32, _: u32| {
        (s64(a) >> b.min(63)).cast_unsigned()
    });
    check("min.s64 d, a, b;", LONGS, |a: u64, b: u64, _: u64| s64(a).min(s64(b)).cast_unsigned());
    check("brev.b64 d, a;", LONGS, |a: u64, _: u64, _: u64| a.reverse_bits());
    check("popc.b64 d, a;", ("b32", ["b64", "b32", "b32"]), |a: u64, _: u32, _: u32| {
        a.count_ones()
    });
    check("clz.b64 d, a;", ("b32", ["b64", "b32", "b32"]), |a: u64, _: u32, _: u32| {
        a.leading_zeros()
    });
}

#[test]
fn wide_products_and_packing() {
    let _gpu = gpu();
    let wide = ("b64", ["b32", "b32", "b64"]);
    check("mul.wide.u32 d, a, b;", wide, |a: u32, b: u32, _: u64| u64::from(a) * u64::from(b));
    check("mul.wide.s32 d, a, b;", wide, |a: u32, b: u32, _: u64| {
        (i64::from(s32(a)) * i64::from(s32(b))).cast_unsigned()
    });
    check("mad.wide.s32 d, a, b, c;", wide, |a: u32, b: u32, c: u64| {
        (i64::from(s32(a)) * i64::from(s32(b))).cast_unsigned().wrapping_add(c)
    });
    let narrow = ("b32", ["b16", "b16", "b32"]);
    check("mul.wide.s16 d, a, b;", narrow, |a: u16, b: u16, _: u32| {
        (i32::from(s16(a)) * i32::from(s16(b))).cast_unsigned()
    });
    check("mad.wide.u16 d, a, b, c;", narrow, |a: u16, b: u16, c: u32| {
        (u32::from(a) * u32::from(b)).wrapping_add(c)
    });
    check("mov.b64 d, {a, b};", wide, |a: u32, b: u32, _: u64| u64::from(b) << 32 | u64::from(a));
    check("mov.b32 d, {a, b};", narrow, |a: u16, b: u16, _: u32| u32::from(b) << 16 | u32::from(a));
    check("mov.b64 {_, d}, a;", ("b32", ["b64", "b32", "b32"]), |a: u64, _: u32, _: u32| {
        (a >> 32) as u32
    });
    check("mov.b32 {d, _}, a;", ("b16", ["b32", "b32", "b32"]), |a: u32, _: u32, _: u32| a as u16);
}

/// The field of a word, bit by bit.
fn field(a: u64, bits: u32, position: u32, length: u32, signed: bool) -> u64 {
    let (position, length) = (position & 255, length & 255);
    let bit = |at: u32| at < bits && a >> at & 1 != 0;
    let sign = signed && length > 0 && bit((position + length - 1).min(bits - 1));
    (0..bits).fold(0, |field, i| {
        let set = if i < length && position + i < bits { bit(position + i) } else { sign };
        field | u64::from(set) << i
    })
}

#[test]
fn bit_fields() {
    let _gpu = gpu();
    check("bfe.u32 d, a, b, c;", WORDS, |a: u32, b: u32, c: u32| {
        field(a.into(), 32, b, c, false) as u32
    });
    check("bfe.s32 d, a, b, c;", WORDS, |a: u32, b: u32, c: u32| {
        field(a.into(), 32, b, c, true) as u32
    });
    check("bfe.u64 d, a, b, c;", LONGS_BY_WORDS, |a: u64, b: u32, c: u32| {
        field(a, 64, b, c, false)
    });
    check("bfe.s64 d, a, b, c;", LONGS_BY_WORDS, |a: u64, b: u32, c: u32| field(a, 64, b, c, true));
    check("bfi.b32 d, a, b, c, 7;", WORDS, |a: u32, b: u32, c: u32| {
        let position = c & 255;
        (0..32).fold(0, |all, i| {
            let from = if i >= position && i < position + 7 { a >> (i - position) } else { b >> i };
            all | (from & 1) << i
        })
    });
}

fn f(bits: u32) -> f32 {
    f32::from_bits(bits)
}
fn d(bits: u64) -> f64 {
    f64::from_bits(bits)
}
/// Singles are compared by their bits, but any NaN is as good as another.
fn single(body: &str, expected: impl Fn(f32, f32, f32) -> f32) {
    let types = ("f32", ["f32"; 3]);
    check_by(
        body,
        types,
        |a: u32, b: u32, c: u32| expected(f(a), f(b), f(c)).to_bits(),
        |a: u32, b: u32| a == b || f(a).is_nan() && f(b).is_nan(),
    );
}
fn double(body: &str, expected: impl Fn(f64, f64, f64) -> f64) {
    let types = ("f64", ["f64"; 3]);
    check_by(
        body,
        types,
        |a: u64, b: u64, c: u64| expected(d(a), d(b), d(c)).to_bits(),
        |a: u64, b: u64| a == b || d(a).is_nan() && d(b).is_nan(),
    );
}
/// A subnormal becomes zero.
fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0f32.copysign(x) } else { x }
}

#[test]
fn singles() {
    let _gpu = gpu();
    single("add.rn.f32 d, a, b;", |a, b, _| a + b);
    single("sub.f32 d, a, b;", |a, b, _| a - b);
    single("mul.f32 d, a, b;", |a, b, _| a * b);
    single("div.rn.f32 d, a, b;", |a, b, _| a / b);
    single("fma.rn.f32 d, a, b, c;", |a, b, c| a.mul_add(b, c));
    single("sqrt.rn.f32 d, a;", |a, _, _| a.sqrt());
    single("rcp.rn.f32 d, a;", |a, _, _| 1.0 / a);
    single("neg.f32 d, a;", |a, _, _| -a);
    single("abs.f32 d, a;", |a, _, _| a.abs());
    single("copysign.f32 d, a, b;", |a, b, _| b.copysign(a));
    single("add.ftz.f32 d, a, b;", |a, b, _| flush(flush(a) + flush(b)));
    single("mul.ftz.f32 d, a, b;", |a, b, _| flush(flush(a) * flush(b)));
    single("add.sat.f32 d, a, b;", |a, b, _| {
        let sum = a + b;
        if sum.is_nan() || sum <= 0.0 { 0.0 } else { sum.min(1.0) }
    });
    single("min.NaN.f32 d, a, b;", |a, b, _| {
        if a.is_nan() || b.is_nan() {
            f32::NAN
        } else if a < b || a == b && a.is_sign_negative() {
            a
        } else {
            b
        }
    });
    single("ex2.approx.f32 d, a;", |a, _, _| f64::from(a).exp2() as f32);
    single("lg2.approx.f32 d, a;", |a, _, _| f64::from(a).log2() as f32);
    single("cvt.rni.f32.f32 d, a;", |a, _, _| a.round_ties_even());
    single("cvt.rmi.f32.f32 d, a;", |a, _, _| a.floor());
    single("cvt.sat.f32.f32 d, a;", |a, _, _| if a > 0.0 { a.min(1.0) } else { 0.0 });
    single("slct.f32.f32 d, a, b, c;", |a, b, c| if c >= 0.0 { a } else { b });
}

#[test]
fn doubles() {
    let _gpu = gpu();
    double("add.f64 d, a, b;", |a, b, _| a + b);
    double("mul.f64 d, a, b;", |a, b, _| a * b);
    double("div.rn.f64 d, a, b;", |a, b, _| a / b);
    double("fma.rn.f64 d, a, b, c;", f64::mul_add);
    double("sqrt.rn.f64 d, a;", |a, _, _| a.sqrt());
    double("neg.f64 d, a;", |a, _, _| -a);
    double("cvt.rpi.f64.f64 d, a;", |a, _, _| a.ceil());
}

#[test]
fn comparisons_with_every_combination() {
    let _gpu = gpu();
    let all: [(&str, fn(f32, f32) -> bool); 14] = [
        ("eq", |a, b| a == b),
        ("ne", |a, b| (a < b) | (a > b)),
        ("lt", |a, b| a < b),
        ("le", |a, b| a <= b),
        ("gt", |a, b| a > b),
        ("ge", |a, b| a >= b),
        ("equ", |a, b| a == b || a.is_nan() || b.is_nan()),
        ("neu", |a, b| a != b),
        ("ltu", |a, b| a < b || a.is_nan() || b.is_nan()),
        ("leu", |a, b| a <= b || a.is_nan() || b.is_nan()),
        ("gtu", |a, b| a > b || a.is_nan() || b.is_nan()),
        ("geu", |a, b| a >= b || a.is_nan() || b.is_nan()),
        ("num", |a, b| !a.is_nan() && !b.is_nan()),
        ("nan", |a, b| a.is_nan() || b.is_nan()),
    ];
    for (name, holds) in all {
        // `set` is a comparison with a number for its result
        check(
            &format!("set.{name}.u32.f32 d, a, b;"),
            ("b32", ["f32", "f32", "f32"]),
            |a: u32, b: u32, _: u32| if holds(f(a), f(b)) { u32::MAX } else { 0 },
        );
    }
    let integers: [(&str, fn(u32, u32) -> bool); 8] = [
        ("lt.s32", |a, b| s32(a) < s32(b)),
        ("ge.s32", |a, b| s32(a) >= s32(b)),
        ("lo.u32", |a, b| a < b),
        ("hs.u32", |a, b| a >= b),
        ("hi.u32", |a, b| a > b),
        ("ls.u32", |a, b| a <= b),
        ("eq.b32", |a, b| a == b),
        ("ne.u32", |a, b| a != b),
    ];
    for (name, holds) in integers {
        let (comparison, ty) = name.split_once('.').unwrap();
        check(&format!("set.{comparison}.u32.{ty} d, a, b;"), WORDS, |a: u32, b: u32, _: u32| {
            if holds(a, b) { u32::MAX } else { 0 }
        });
    }
}

/// A hand-written kernel: predicates in all their forms, scopes, comparisons with two results.
#[test]
fn predicates_and_scopes() {
    let _gpu = gpu();
    let text = r"
.version 7.8
.target sm_80
.address_size 64
.visible .entry k(.param .u64 out)
{
    .reg .pred p, q, r, s;
    .reg .b32 %i, d;
    .reg .b64 %rd1;
    mov.u32 %i, %tid.x;
    ld.param.u64 %rd1, [out];
    mad.wide.u32 %rd1, %i, 4, %rd1;
    setp.lt.u32 p|q, %i, 10;          // p: below 10, q: not
    setp.ge.and.u32 r|s, %i, 5, p;    // r: 5 to 9; s: below 5
    mov.u32 d, 0;
    @p or.b32 d, d, 1;
    @q or.b32 d, d, 2;
    @r or.b32 d, d, 4;
    @s or.b32 d, d, 8;
    {
        .reg .pred p;
        .reg .b32 d;
        setp.eq.xor.u32 p, %i, 7, !r;  // hides the outer one
        mov.u32 d, 99;
        mov.pred q, p;
    }
    @q or.b32 d, d, 16;
    and.pred p, p, r;
    xor.pred p, p, 1;
    not.pred p, p;
    @!p or.b32 d, d, 32;
    st.global.u32 [%rd1], d;
    ret;
}";
    let out = buffer(&[0u32; 32]);
    let pointer = out.as_device_ptr();
    launch(&module(text), "k", block(32), args![pointer]);
    let expected: Vec<u32> = (0..32u32)
        .map(|i| {
            let (p, r) = (i < 10, (5..10).contains(&i));
            let q = (i == 7) == r;
            u32::from(p)
                | u32::from(!p) << 1
                | u32::from(r) << 2
                | u32::from(i < 5) << 3
                | u32::from(q) << 4
                | u32::from(!(p && r)) << 5
        })
        .collect();
    assert_eq!(read(&out), expected);
}

#[test]
fn conversions_with_saturation() {
    let _gpu = gpu();
    let one = |to, from| (to, [from, "b32", "b32"]);
    check("cvt.sat.u8.s32 d, a;", one("b32", "b32"), |a: u32, _: u32, _: u32| {
        s32(a).clamp(0, 255).cast_unsigned()
    });
    check("cvt.sat.s16.s32 d, a;", one("b16", "b32"), |a: u32, _: u32, _: u32| {
        (s32(a).clamp(-32768, 32767) as i16).cast_unsigned()
    });
    check("cvt.s32.s8 d, a;", one("b32", "b32"), |a: u32, _: u32, _: u32| {
        i32::from(a as i8).cast_unsigned()
    });
    check("cvt.u64.u8 d, a;", one("b64", "b16"), |a: u16, _: u32, _: u32| u64::from(a as u8));
    check("cvt.s64.s32 d, a;", one("b64", "b32"), |a: u32, _: u32, _: u32| {
        i64::from(s32(a)).cast_unsigned()
    });
    check("cvt.rzi.u8.f32 d, a;", ("b32", ["f32", "b32", "b32"]), |a: u32, _: u32, _: u32| {
        f(a).clamp(0.0, 255.0) as u32
    });
    check("cvt.rni.s16.f32 d, a;", ("b16", ["f32", "b32", "b32"]), |a: u32, _: u32, _: u32| {
        (f(a).round_ties_even() as i16).cast_unsigned()
    });
    check("cvt.rn.f32.u16 d, a;", ("b32", ["b16", "b32", "b32"]), |a: u16, _: u32, _: u32| {
        f32::from(a).to_bits()
    });
    check("cvt.rn.f16.s32 d, a;", one("b16", "b32"), |a: u32, _: u32, _: u32| half(s32(a).into()));
}

/// The nearest half, for integers.
fn half(x: f64) -> u16 {
    let sign = if x < 0.0 { 0x8000 } else { 0 };
    let x = x.abs();
    if x == 0.0 {
        return sign;
    }
    if x >= 65_520.0 {
        return sign | 0x7c00;
    }
    let exponent = x.log2().floor();
    let unit = 2f64.powf(exponent - 10.0);
    let units = (x / unit).round_ties_even() as u16;
    // (2048 units carry into the exponent by themselves)
    sign + (((exponent as i32 + 15) as u16) << 10) + (units - 1024)
}

#[test]
fn halves_have_arithmetic() {
    let _gpu = gpu();
    let text = r"
.version 7.8
.target sm_80
.address_size 64
.visible .entry k(.param .u64 out)
{
    .reg .b16 a, b, c, d;
    .reg .b32 %i, x;
    .reg .f32 y;
    .reg .b64 %rd1;
    mov.u32 %i, %tid.x;
    ld.param.u64 %rd1, [out];
    mad.wide.u32 %rd1, %i, 16, %rd1;
    cvt.rn.f16.u32 a, %i;
    cvt.rn.f16.s32 b, -3;
    add.f16 c, a, b;
    cvt.f32.f16 y, c;
    st.global.f32 [%rd1], y;
    mul.f16 c, a, b;
    cvt.f32.f16 y, c;
    st.global.f32 [%rd1+4], y;
    fma.rn.f16 c, a, a, b;
    cvt.f32.f16 y, c;
    st.global.f32 [%rd1+8], y;
    max.f16 c, a, b;
    neg.f16 c, c;
    cvt.f32.f16 y, c;
    st.global.f32 [%rd1+12], y;
    ret;
}";
    let out = buffer(&[0f32; 4 * 32]);
    let pointer = out.as_device_ptr();
    launch(&module(text), "k", block(32), args![pointer]);
    for (i, out) in read(&out).chunks(4).enumerate() {
        let i = i as f32;
        assert_eq!(out, [i - 3.0, -3.0 * i, i * i - 3.0, -i]);
    }
}

#[test]
fn lanes_match_and_reduce() {
    let _gpu = gpu();
    let text = r"
.version 7.8
.target sm_80
.address_size 64
.visible .entry k(.param .u64 out)
{
    .reg .pred p;
    .reg .b32 %i, %v, %d;
    .reg .b64 %rd1;
    mov.u32 %i, %laneid;
    ld.param.u64 %rd1, [out];
    mad.wide.u32 %rd1, %i, 4, %rd1;
    rem.u32 %v, %i, 5;
    match.any.sync.b32 %d, %v, 0xffffffff;
    st.global.u32 [%rd1], %d;
    match.all.sync.b32 %d|p, %v, 0xffffffff;
    selp.u32 %d, 1, 0, p;
    st.global.u32 [%rd1+128], %d;
    redux.sync.add.u32 %d, %i, 0xffffffff;
    st.global.u32 [%rd1+256], %d;
    sub.s32 %v, 10, %i;
    redux.sync.min.s32 %d, %v, 0xffffffff;
    st.global.s32 [%rd1+384], %d;
    mov.u32 %d, %lanemask_lt;
    st.global.u32 [%rd1+512], %d;
    ret;
}";
    let out = buffer(&[0u32; 160]);
    let pointer = out.as_device_ptr();
    launch(&module(text), "k", block(32), args![pointer]);
    let out = read(&out);
    for lane in 0..32usize {
        let same = (0..32).filter(|other| other % 5 == lane % 5).fold(0u32, |m, o| m | 1 << o);
        assert_eq!(out[lane], same);
        assert_eq!((out[32 + lane], out[64 + lane], s32(out[96 + lane])), (0, 496, -21));
        assert_eq!(out[128 + lane], (1u32 << lane) - 1);
    }
}
