//! The kernel over both implementations.

use rustkernel_core::kernel::Need;
use rustkernel_core::prelude::*;

use super::PTX;
use super::host::{self, Model, Options, Prices, SLICE};
use crate::entries::{Entries, blocks, threads};
use crate::error::elements;
use crate::request::{bytes_of, compute, count, invalid, leases};

/// Prices of European options.
#[derive(Debug)]
pub struct BlackScholes {
    entries: Entries,
}

/// What [`BlackScholes`] takes.
#[derive(Debug, Clone, KernelMessage)]
pub struct BlackScholesRequest {
    /// Today's prices of the underlyings, not negative.
    #[kernel(shape = "n")]
    pub spot: Tensor<f32>,
    /// The prices at which the options can be exercised, not negative.
    #[kernel(shape = "n")]
    pub strike: Tensor<f32>,
    /// The years until then, not negative.
    #[kernel(shape = "n")]
    pub maturity: Tensor<f32>,
    /// Riskless interest per year, continuously compounded.
    #[kernel(default = 0.05)]
    pub rate: f32,
    /// The standard deviation of a year's logarithmic return, not negative.
    #[kernel(default = 0.2)]
    pub volatility: f32,
    /// How many prices are simulated for each option, at least 1.
    #[kernel(default = 65536)]
    pub paths: u32,
    /// The key of the random numbers: the same seed gives the same prices.
    #[kernel(default = 0)]
    pub seed: u64,
}

/// What [`BlackScholes`] gives.
#[derive(Debug, Clone, PartialEq, KernelMessage)]
pub struct BlackScholesResponse {
    /// The price of each call.
    #[kernel(shape = "n")]
    pub call: Tensor<f32>,
    /// The price of each put.
    #[kernel(shape = "n")]
    pub put: Tensor<f32>,
    /// The standard error of each call's price, NaN for a single path.
    #[kernel(shape = "n")]
    pub call_error: Tensor<f32>,
    /// The standard error of each put's price, NaN for a single path.
    #[kernel(shape = "n")]
    pub put_error: Tensor<f32>,
}

/// How to run it.
pub fn spec() -> KernelSpec<BlackScholes> {
    KernelSpec::new("black_scholes", || BlackScholes { entries: Entries::default() })
        .describe("Prices of European calls and puts by Monte Carlo, with standard errors.")
        .memory_on(|request, device| match device {
            DeviceKind::Host => Need::NOTHING,
            DeviceKind::Cuda => {
                let vector = request.spot.bytes();
                let sums = bytes_of::<f64>(request.partial_sums());
                leases([vector, vector, vector, sums, vector, vector, vector, vector])
            }
        })
        .publish()
}

impl BlackScholesRequest {
    fn options(&self) -> Options<'_> {
        let Self { spot, strike, maturity, .. } = self;
        let (spot, strike, maturity) = (spot.as_slice(), strike.as_slice(), maturity.as_slice());
        Options { spot, strike, maturity }
    }

    fn model(&self) -> Model {
        let &Self { rate, volatility, paths, seed, .. } = self;
        Model { rate, volatility, paths, seed }
    }

    /// Slices of all options' paths, each a block's work on the device.
    fn slices(&self) -> usize {
        elements(&[self.spot.len(), (self.paths as usize).div_ceil(SLICE)])
    }

    /// Sums that the device's slices leave: of calls and puts, and of their squares.
    fn partial_sums(&self) -> usize {
        elements(&[4, self.slices()])
    }
}

impl Kernel for BlackScholes {
    type Request = BlackScholesRequest;
    type Response = BlackScholesResponse;

    const DEVICES: Devices = Devices::Any;

    async fn open(&mut self, cx: &mut KernelContext) -> KernelResult {
        let names = ["black_scholes_paths", "black_scholes_prices"];
        self.entries = Entries::load(cx, PTX, &names)?;
        Ok(())
    }

    async fn execute(
        &mut self,
        request: BlackScholesRequest,
        cx: &mut KernelContext,
    ) -> KernelResult<BlackScholesResponse> {
        let prices = match cx.device().kind() {
            DeviceKind::Host => compute(cx, move || on_host(&request)).await??,
            DeviceKind::Cuda => self.on_cuda(&request, cx).await?,
        };
        let [call, put, call_error, put_error] = prices.map(Tensor::from);
        Ok(BlackScholesResponse { call, put, call_error, put_error })
    }
}

/// Calls, puts, and the errors of both.
fn on_host(request: &BlackScholesRequest) -> KernelResult<[Vec<f32>; 4]> {
    let mut prices = [(); 4].map(|()| vec![0.0; request.spot.len()]);
    let [call, put, call_error, put_error] = &mut prices;
    let into = Prices { call, put, call_error, put_error };
    host::black_scholes(request.options(), &request.model(), into).map_err(invalid)?;
    Ok(prices)
}

impl BlackScholes {
    /// Calls, puts, and the errors of both.
    async fn on_cuda(
        &self,
        request: &BlackScholesRequest,
        cx: &mut KernelContext,
    ) -> KernelResult<[Vec<f32>; 4]> {
        let Model { rate, volatility, paths, seed } = request.model();
        request.options().check(&request.model()).map_err(invalid)?;
        let n = count(request.spot.len())?;
        if n == 0 {
            return Ok([const { Vec::new() }; 4]);
        }
        let len = request.spot.len();
        let spot = cx.upload(request.spot.as_slice()).await?;
        let strike = cx.upload(request.strike.as_slice()).await?;
        let maturity = cx.upload(request.maturity.as_slice()).await?;
        let mut sums = cx.alloc::<f64>(request.partial_sums()).await?;
        let mut call = cx.alloc::<f32>(len).await?;
        let mut put = cx.alloc::<f32>(len).await?;
        let mut call_error = cx.alloc::<f32>(len).await?;
        let mut put_error = cx.alloc::<f32>(len).await?;

        let arguments =
            arguments![&spot, &strike, &maturity, &mut sums, n, rate, volatility, paths, seed];
        self.entries.launch(cx, "black_scholes_paths", blocks(request.slices()), arguments)?;
        let arguments = arguments![
            &spot,
            &strike,
            &maturity,
            &sums,
            &mut call,
            &mut put,
            &mut call_error,
            &mut put_error,
            n,
            rate,
            volatility,
            paths,
        ];
        self.entries.launch(cx, "black_scholes_prices", threads(len), arguments)?;
        Ok([
            cx.download(&call).await?,
            cx.download(&put).await?,
            cx.download(&call_error).await?,
            cx.download(&put_error).await?,
        ])
    }
}
