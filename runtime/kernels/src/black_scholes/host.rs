//! Option prices on the host.

use std::ops::Range;

use thiserror::Error;

use super::random::{normals, philox};
use crate::error::LengthError;
use crate::parallel;

/// Paths that are added up before the sums go to the next level: the device's slices too.
pub(super) const SLICE: usize = 1 << 14;

/// Paths of all options from which threads share the work.
const PARALLEL_FROM: usize = 1 << 14;

/// Above what any random number is.
const HIGHEST_Z: f32 = 7.0;

/// Half of what `f32` holds, because a device rounds in its own way.
const MOST_PRICE: f64 = f32::MAX as f64 / 2.0;

/// The options to price: option `i` is element `i` of each slice.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Today's price of the underlying; finite, not negative.
    pub spot: &'a [f32],
    /// The price at which the option can be exercised; finite, not negative.
    pub strike: &'a [f32],
    /// Years until then; finite, not negative.
    pub maturity: &'a [f32],
}

/// The market, and how it is simulated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Model {
    /// Riskless interest, continuously compounded, per year; finite.
    pub rate: f32,
    /// The standard deviation of the logarithmic return of a year; finite, not negative.
    pub volatility: f32,
    /// Simulated prices per option, at least 1. One alone has no standard error: NaN.
    pub paths: u32,
    /// The random numbers' key.
    pub seed: u64,
}

/// Where the results go: one element per option in each slice.
#[derive(Debug)]
pub struct Prices<'a> {
    /// Prices of calls.
    pub call: &'a mut [f32],
    /// Prices of puts.
    pub put: &'a mut [f32],
    /// Standard errors of `call`.
    pub call_error: &'a mut [f32],
    /// Standard errors of `put`.
    pub put_error: &'a mut [f32],
}

/// Options that have no price, or slices whose lengths differ.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum BlackScholesError {
    /// There are no paths to take a mean over.
    #[error("a simulation has at least one path")]
    NoPaths,
    /// The rate is not finite.
    #[error("the rate must be finite, not {0}")]
    Rate(f32),
    /// The volatility is negative or not finite.
    #[error("the volatility must be finite and not negative, not {0}")]
    Volatility(f32),
    /// A spot price, strike price or maturity is negative or not finite.
    #[error("{field}[{index}] must be finite and not negative, not {value}")]
    Option {
        /// `"spot"`, `"strike"` or `"maturity"`.
        field: &'static str,
        /// Which option.
        index: usize,
        /// What it is.
        value: f32,
    },
    /// Prices are simulated, or come out, that are too large for `f32`.
    #[error(
        "the prices of option {index} are beyond float32, at its maturity or today; take a rate \
         nearer to 0, a shorter maturity, less volatility or a larger unit of prices"
    )]
    Overflow {
        /// Which option.
        index: usize,
    },
    /// There are more options than the random numbers' counters have room for.
    #[error("{0} options are more than 2^32")]
    TooMany(usize),
    /// A slice's length is not that of `spot`.
    #[error(transparent)]
    Length(#[from] LengthError),
}

impl Options<'_> {
    /// `Ok` if all options have prices in the model. The device relies on it too.
    ///
    /// # Errors
    /// As [`black_scholes`].
    pub fn check(&self, model: &Model) -> Result<(), BlackScholesError> {
        let valid = |x: f32| x.is_finite() && x >= 0.0;
        if model.paths == 0 {
            return Err(BlackScholesError::NoPaths);
        }
        if !model.rate.is_finite() {
            return Err(BlackScholesError::Rate(model.rate));
        }
        if !valid(model.volatility) {
            return Err(BlackScholesError::Volatility(model.volatility));
        }
        if u32::try_from(self.spot.len()).is_err() {
            return Err(BlackScholesError::TooMany(self.spot.len()));
        }
        let fields = [("spot", self.spot), ("strike", self.strike), ("maturity", self.maturity)];
        for (field, values) in fields {
            LengthError::unless_exact(field, values.len(), self.spot.len())?;
            if let Some(index) = values.iter().position(|&x| !valid(x)) {
                return Err(BlackScholesError::Option { field, index, value: values[index] });
            }
        }
        if self.all_fit(model) {
            return Ok(());
        }
        let mut payoffs = (0..self.spot.len()).map(|index| Payoff::of(self, index, model));
        let beyond = payoffs.position(|payoff| !payoff.fits());
        beyond.map_or(Ok(()), |index| Err(BlackScholesError::Overflow { index }))
    }

    /// Whether an option with the largest numbers of all would fit, which nearly always spares a look
    /// at each.
    fn all_fit(&self, model: &Model) -> bool {
        let most = |values: &[f32]| f64::from(values.iter().copied().fold(0.0, f32::max));
        let (rate, years) = (f64::from(model.rate), most(self.maturity));
        let spread = f64::from(HIGHEST_Z) * f64::from(model.volatility) * years.sqrt();
        let highest = most(self.spot) * (rate.max(0.0) * years + spread).exp();
        let discount = ((-rate).max(0.0) * years).exp();
        highest.max(most(self.strike)) * discount <= MOST_PRICE
    }
}

/// Prices calls and puts, with standard errors.
///
/// # Errors
/// If there are no paths, if a number of the model or of an option is not what its documentation
/// asks for, if prices grow beyond `f32`, or if the lengths differ.
pub fn black_scholes(
    options: Options<'_>,
    model: &Model,
    prices: Prices<'_>,
) -> Result<(), BlackScholesError> {
    options.check(model)?;
    let count = options.spot.len();
    LengthError::unless_exact("call", prices.call.len(), count)?;
    LengthError::unless_exact("put", prices.put.len(), count)?;
    LengthError::unless_exact("call_error", prices.call_error.len(), count)?;
    LengthError::unless_exact("put_error", prices.put_error.len(), count)?;
    let paths = model.paths as usize;
    let parallel = count.saturating_mul(paths) >= PARALLEL_FROM;
    let estimates = parallel::map(count, parallel, |i| {
        Payoff::of(&options, i, model).estimate(model, parallel)
    });
    for (i, estimate) in estimates.into_iter().enumerate() {
        (prices.call[i], prices.call_error[i]) = estimate.call;
        (prices.put[i], prices.put_error[i]) = estimate.put;
    }
    Ok(())
}

/// What one option pays, as a function of a normal number.
struct Payoff {
    index: u32,
    spot: f32,
    strike: f32,
    /// Mean and standard deviation of the logarithmic return.
    drift: f32,
    deviation: f32,
    /// The value today of 1 at maturity.
    discount: f64,
}

/// Prices with their standard errors.
#[derive(Default)]
struct Estimate {
    call: (f32, f32),
    put: (f32, f32),
}

/// Sums over paths of payoffs and of their squares, call before put. Payoffs are taken less a
/// constant, their value at `z = 0`: the variance of nearly equal payoffs would otherwise be lost in
/// the difference of two sums.
#[derive(Clone, Copy, Default)]
struct Sums {
    payoffs: [f64; 2],
    squares: [f64; 2],
}

impl Payoff {
    fn of(options: &Options<'_>, index: usize, model: &Model) -> Self {
        let maturity = f64::from(options.maturity[index]);
        let (rate, volatility) = (f64::from(model.rate), f64::from(model.volatility));
        Self {
            index: index as u32,
            spot: options.spot[index],
            strike: options.strike[index],
            drift: ((rate - 0.5 * volatility * volatility) * maturity) as f32,
            deviation: (volatility * maturity.sqrt()) as f32,
            discount: (-rate * maturity).exp(),
        }
    }

    /// Whether no simulated price leaves `f32`, nor the value of one today. (NaN does not fit.)
    fn fits(&self) -> bool {
        let highest = f64::from(self.terminal(HIGHEST_Z));
        highest <= MOST_PRICE && self.discount * highest.max(f64::from(self.strike)) <= MOST_PRICE
    }

    /// The underlying's price at maturity.
    fn terminal(&self, z: f32) -> f32 {
        self.spot * (self.drift + self.deviation * z).exp()
    }

    /// Of the call and of the put.
    fn at(&self, z: f32) -> [f32; 2] {
        let terminal = self.terminal(z);
        [(terminal - self.strike).max(0.0), (self.strike - terminal).max(0.0)]
    }

    fn estimate(&self, model: &Model, parallel: bool) -> Estimate {
        let middle = self.at(0.0);
        let slices = parallel::map_ranges(model.paths as usize, SLICE, parallel, |paths| {
            self.sums(paths, middle, model.seed)
        });
        let sums = slices.into_iter().fold(Sums::default(), Sums::plus);
        let [call, put] = [0, 1].map(|kind| {
            let paths = f64::from(model.paths);
            let mean = sums.payoffs[kind] / paths;
            let variance = (sums.squares[kind] / paths - mean * mean).max(0.0) / (paths - 1.0);
            let price = self.discount * (f64::from(middle[kind]) + mean);
            let error = if model.paths > 1 { self.discount * variance.sqrt() } else { f64::NAN };
            (price as f32, error as f32)
        });
        Estimate { call, put }
    }

    fn sums(&self, paths: Range<usize>, middle: [f32; 2], seed: u64) -> Sums {
        let mut sums = Sums::default();
        for first in paths.clone().step_by(4) {
            let z = normals(philox([(first / 4) as u32, self.index, 0, 0], seed));
            for &z in &z[..(paths.end - first).min(4)] {
                let payoffs = self.at(z);
                for kind in [0, 1] {
                    let payoff = f64::from(payoffs[kind] - middle[kind]);
                    sums.payoffs[kind] += payoff;
                    sums.squares[kind] += payoff * payoff;
                }
            }
        }
        sums
    }
}

impl Sums {
    fn plus(mut self, other: Self) -> Self {
        for kind in [0, 1] {
            self.payoffs[kind] += other.payoffs[kind];
            self.squares[kind] += other.squares[kind];
        }
        self
    }
}
