//! Prices of European options in the model of Black and Scholes ("The pricing of options and
//! corporate liabilities", 1973), by Monte Carlo (Glasserman, "Monte Carlo methods in financial
//! engineering", 2003, chapter 1).
//!
//! The price at maturity `T` is log-normal: `S exp((r - σ²/2) T + σ sqrt(T) z)`. The price of a
//! call is the discounted mean of `max(S_T - K, 0)` over all paths, that of a put of
//! `max(K - S_T, 0)`; the standard error is that of the mean over independent paths (plain, not
//! antithetic).
//!
//! # Random numbers
//! A counter-based generator, Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random
//! numbers: as easy as 1, 2, 3", 2011): `z` of path `p` of option `i` is lane `p % 4` of the block
//! with counter `(p / 4, i, 0, 0)` and the seed as the key, made normal in pairs by the transform of
//! Box and Muller. It depends on the seed, `i` and `p` only: host and device draw the same numbers,
//! in any order, on any number of threads.

pub mod host;
mod kernel;
mod random;

pub use kernel::{BlackScholes, BlackScholesRequest, BlackScholesResponse, spec};

/// The entries `black_scholes_paths` and `black_scholes_prices`; `kernel.cu` says how they are
/// launched.
pub const PTX: &str = include_str!("kernel.ptx");
