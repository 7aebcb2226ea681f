//! European options by Monte Carlo, and by the closed formula.

use std::f64::consts::TAU;

use proptest::prelude::*;

use super::random::Random;
use super::{Case, Mismatch, all_close};

/// `n` options, each priced with `paths` random numbers.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the kernel's shape")]
pub struct BlackScholes {
    pub n: usize,
    pub rate: f32,
    pub volatility: f32,
    pub paths: u32,
    pub seed: u64,
    /// What prices are given in.
    pub unit: f32,
}

/// The kernel's arguments.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the kernel's arguments")]
pub struct Inputs {
    pub spot: Vec<f32>,
    pub strike: Vec<f32>,
    pub maturity: Vec<f32>,
    pub rate: f32,
    pub volatility: f32,
    pub paths: u32,
    pub seed: u64,
}

/// The kernel's results.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names of the kernel's results")]
pub struct Output {
    pub call: Vec<f32>,
    pub put: Vec<f32>,
    pub call_error: Vec<f32>,
    pub put_error: Vec<f32>,
}

impl Case for BlackScholes {
    type Inputs = Inputs;
    type Output = Output;

    fn awkward() -> Vec<Self> {
        let seed = 1 << 40 | 1;
        let case = |(n, paths)| Self { n, rate: 0.03, volatility: 0.2, paths, seed, unit: 1.0 };
        let mut cases =
            [(0, 10), (1, 1), (3, 2), (2, 3), (1, 5), (33, 257), (2, 16_384)].map(case).to_vec();
        cases.push(case((3, 40_001)));
        cases.push(Self { volatility: 0.0, rate: -0.01, ..case((4, 100)) });
        cases.push(Self { volatility: 0.7, rate: 0.0, ..case((5, 1_000)) });
        // Their squares are beyond `f32`, on either side.
        cases.extend([1e20, 1e-25].map(|unit| Self { unit, ..case((3, 257)) }));
        cases
    }

    fn large() -> Vec<Self> {
        vec![Self { n: 3, rate: 0.05, volatility: 0.3, paths: 1_000_003, seed: 2, unit: 1.0 }]
    }

    fn random() -> BoxedStrategy<Self> {
        (0..6_usize, -0.05..0.1_f32, 0.0..0.6_f32, 1..3_000_u32, any::<u64>())
            .prop_map(|(n, rate, volatility, paths, seed)| Self {
                n,
                rate,
                volatility,
                paths,
                seed,
                unit: 1.0,
            })
            .boxed()
    }

    fn inputs(&self) -> Inputs {
        let Self { n, rate, volatility, paths, seed, unit } = *self;
        let mut random = Random::new(seed);
        let mut maturity = random.floats(n, 0.0, 3.0);
        let mut strike = random.floats(n, 60.0, 140.0);
        // From the fourth on: expired, and never worth less than nothing.
        maturity.iter_mut().skip(3).step_by(4).for_each(|years| *years = 0.0);
        strike.iter_mut().skip(4).step_by(4).for_each(|price| *price = 0.0);
        let mut spot = random.floats(n, 50.0, 150.0);
        spot.iter_mut().chain(&mut strike).for_each(|price| *price *= unit);
        Inputs { spot, strike, maturity, rate, volatility, paths, seed }
    }

    /// The same random numbers: rounding apart, the same results. And within four standard errors
    /// of the closed formula, where there are enough paths for those to mean much.
    fn check(inputs: &Inputs, output: &Output) -> Result<(), Mismatch> {
        let count = inputs.spot.len();
        let estimates: Vec<[[f64; 2]; 2]> = (0..count).map(|i| estimate(inputs, i)).collect();
        let expected = |kind: usize, what: usize| -> Vec<f64> {
            estimates.iter().map(|estimate| estimate[kind][what]).collect()
        };
        // Payoffs are differences of prices in `f32`.
        let rounding = |i: usize| 1e-6 * f64::from(inputs.spot[i] + inputs.strike[i]);
        for (kind, prices, errors) in
            [(0, &output.call, &output.call_error), (1, &output.put, &output.put_error)]
        {
            let price = expected(kind, 0);
            all_close(prices, &price, |i| 1e-6 * price[i] + rounding(i))?;
            let error = expected(kind, 1);
            all_close(errors, &error, |i| 1e-5 * error[i] + rounding(i))?;
            if inputs.paths >= 1_000 {
                let closed: Vec<f64> = (0..count).map(|i| closed_form(inputs, i)[kind]).collect();
                // What is worth next to nothing is paid on too few paths.
                let rare = |i: usize| closed[i] < 0.01 * f64::from(inputs.spot[i]);
                all_close(prices, &closed, |i| {
                    if rare(i) { f64::INFINITY } else { 4.0 * f64::from(errors[i]) + rounding(i) }
                })?;
            }
        }
        Ok(())
    }
}

/// Price and standard error of the call and of the put.
fn estimate(inputs: &Inputs, i: usize) -> [[f64; 2]; 2] {
    let [spot, strike, maturity] =
        [&inputs.spot, &inputs.strike, &inputs.maturity].map(|values| f64::from(values[i]));
    let (rate, volatility) = (f64::from(inputs.rate), f64::from(inputs.volatility));
    let paths: Vec<f64> = (0..inputs.paths)
        .map(|path| {
            let z = normal(inputs.seed, i as u32, path);
            let drift = (rate - volatility * volatility / 2.0) * maturity;
            spot * (drift + volatility * maturity.sqrt() * z).exp()
        })
        .collect();
    let discount = (-rate * maturity).exp();
    [1.0, -1.0].map(|sign| {
        let payoffs: Vec<f64> =
            paths.iter().map(|price| discount * (sign * (price - strike)).max(0.0)).collect();
        let count = payoffs.len() as f64;
        let mean = payoffs.iter().sum::<f64>() / count;
        let squares: f64 = payoffs.iter().map(|payoff| (payoff - mean).powi(2)).sum();
        [mean, (squares / (count - 1.0) / count).sqrt()]
    })
}

/// The formula of Black and Scholes, for the call and for the put.
fn closed_form(inputs: &Inputs, i: usize) -> [f64; 2] {
    let [spot, strike, maturity] =
        [&inputs.spot, &inputs.strike, &inputs.maturity].map(|values| f64::from(values[i]));
    let (rate, volatility) = (f64::from(inputs.rate), f64::from(inputs.volatility));
    let today = strike * (-rate * maturity).exp();
    let deviation = volatility * maturity.sqrt();
    if deviation == 0.0 || strike == 0.0 {
        return [(spot - today).max(0.0), (today - spot).max(0.0)];
    }
    let d1 = (spot / today).ln() / deviation + deviation / 2.0;
    let d2 = d1 - deviation;
    let call = spot * normal_distribution(d1) - today * normal_distribution(d2);
    [call, call - spot + today]
}

/// The standard normal distribution function, by its series (Marsaglia, "Evaluating the normal
/// distribution", 2004).
fn normal_distribution(x: f64) -> f64 {
    if x.abs() > 8.0 {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let (mut sum, mut term) = (x, x);
    for odd in (3..400).step_by(2) {
        term *= x * x / f64::from(odd);
        sum += term;
    }
    0.5 + sum * (-x * x / 2.0).exp() / TAU.sqrt()
}

/// The normal number of a path of an option.
fn normal(seed: u64, option: u32, path: u32) -> f64 {
    let block = philox([path / 4, option, 0, 0], [seed as u32, (seed >> 32) as u32]);
    let unit = |x: u32| (f64::from(x) + 0.5) / 2.0_f64.powi(32);
    let pair = if path % 4 < 2 { [block[0], block[1]] } else { [block[2], block[3]] };
    let radius = (-2.0 * unit(pair[0]).ln()).sqrt();
    let angle = TAU * unit(pair[1]);
    if path.is_multiple_of(2) { radius * angle.cos() } else { radius * angle.sin() }
}

/// Philox4x32 with 10 rounds (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
/// 1, 2, 3", 2011).
fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let product = |factor: u32, x: u32| {
        let product = u64::from(factor) * u64::from(x);
        ((product >> 32) as u32, product as u32)
    };
    let (mut x, mut key) = (counter, key);
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
        }
        let (high_0, low_0) = product(0xD251_1F53, x[0]);
        let (high_2, low_2) = product(0xCD9E_8D57, x[2]);
        x = [high_2 ^ x[1] ^ key[0], low_2, high_0 ^ x[3] ^ key[1], low_0];
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_vectors_of_philox() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn tabulated_values_of_the_normal_distribution() {
        for (x, expected) in [(0.0, 0.5), (1.0, 0.841_344_746_1), (-2.5, 0.006_209_665_3)] {
            assert!((normal_distribution(x) - expected).abs() < 1e-10, "{x}");
        }
    }
}
