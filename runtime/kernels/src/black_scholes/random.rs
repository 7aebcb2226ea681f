//! Normal random numbers by counter.

use std::f32::consts::TAU;

/// The block of Philox4x32-10 with this counter and key.
pub(super) fn philox(mut counter: [u32; 4], key: u64) -> [u32; 4] {
    let (mut key_0, mut key_1) = (key as u32, (key >> 32) as u32);
    for _ in 0..10 {
        let [c0, c1, c2, c3] = counter;
        let product_0 = 0xD251_1F53 * u64::from(c0);
        let product_2 = 0xCD9E_8D57 * u64::from(c2);
        counter = [
            (product_2 >> 32) as u32 ^ c1 ^ key_0,
            product_2 as u32,
            (product_0 >> 32) as u32 ^ c3 ^ key_1,
            product_0 as u32,
        ];
        key_0 = key_0.wrapping_add(0x9E37_79B9);
        key_1 = key_1.wrapping_add(0xBB67_AE85);
    }
    counter
}

/// Four normal numbers of a block (Box and Muller, "A note on the generation of random normal
/// deviates", 1958).
pub(super) fn normals(block: [u32; 4]) -> [f32; 4] {
    let [a, b] = normal_pair(block[0], block[1]);
    let [c, d] = normal_pair(block[2], block[3]);
    [a, b, c, d]
}

fn normal_pair(x: u32, y: u32) -> [f32; 2] {
    let radius = (-2.0 * uniform(x).ln()).sqrt();
    let (sine, cosine) = (TAU * uniform(y)).sin_cos();
    [radius * cosine, radius * sine]
}

/// The middle of the `x`-th of 2³² equal parts of the unit interval, rounded to `f32`.
fn uniform(x: u32) -> f32 {
    const PART: f32 = 1.0 / (1_u64 << 32) as f32;
    x as f32 * PART + PART / 2.0
}

#[cfg(test)]
mod tests {
    use super::{normals, philox};

    /// Of the authors' library Random123, file `kat_vectors`.
    #[test]
    fn published_vectors() {
        assert_eq!(philox([0; 4], 0), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], u64::MAX),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], 0x299f_31d0_a409_3822),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn every_block_gives_finite_numbers() {
        for x in [0, 1, u32::MAX - 1, u32::MAX] {
            for y in [0, 1 << 30, 1 << 31, u32::MAX] {
                assert!(normals([x, y, y, x]).iter().all(|z| z.abs() < 7.0), "{x} {y}");
            }
        }
    }
}
