//! The built-in kernels through the runtime: typed calls and calls by name against the references,
//! their signatures, their refusals, and the memory that they declare.
//!
//! On the host, and on the first CUDA device where there is one:
//!
//! ```text
//! cargo test -p rustkernel-tests --test kernels -- --ignored cuda
//! ```
#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "kernels/declarations.rs"]
mod declarations;
#[path = "kernels/defaults.rs"]
mod defaults;
#[path = "kernels/refusals.rs"]
mod refusals;
#[path = "kernels/signatures.rs"]
mod signatures;

use rustkernel_core::message::{Fields, KernelMessage};
use rustkernel_gpu::DeviceId;
use rustkernel_tests::builtin::{Builtin, Response};
use rustkernel_tests::reference::{self, Effort, conform};
use rustkernel_tests::running::Running;

/// All cases of a kernel by typed calls, the awkward ones by name too.
fn conforms<C: Builtin>(device: DeviceId, effort: Effort) {
    let running = Running::<C>::start(device);
    conform::<C>(effort, |inputs| {
        C::output(running.call(C::request(inputs)).expect("the kernel answers"))
    });
    conform::<C>(Effort { large: false, random: 0 }, |inputs| {
        let fields: Fields = C::request(inputs).into_fields();
        let response = running.call_by_name(fields).expect("the kernel answers by name");
        C::output(Response::<C>::from_fields(response).expect("the response is one"))
    });
    running.stop();
}

/// Calls a macro with every kernel and its case.
macro_rules! each_builtin {
    ($each:ident) => {
        $each! {
            black_scholes: BlackScholes,
            conv2d: Conv2d,
            dot: Dot,
            gaussian_blur: GaussianBlur,
            gemm: Gemm,
            histogram: Histogram,
            pagerank: PageRank,
            reduce: Reduce,
            saxpy: Saxpy,
            scan: Scan,
            sobel: Sobel,
            softmax: Softmax,
            vector_add: VectorAdd,
        }
    };
}

mod host {
    use super::*;

    const EFFORT: Effort = Effort { large: true, random: 32 };

    macro_rules! tests {
        ($($kernel:ident: $case:ident,)*) => {$(
            #[test]
            fn $kernel() {
                conforms::<reference::$kernel::$case>(DeviceId::Host, EFFORT);
            }
        )*};
    }

    each_builtin!(tests);

    #[test]
    fn refusals() {
        refusals::are_refused(DeviceId::Host);
    }
}

mod cuda {
    use super::*;

    macro_rules! tests {
        ($($kernel:ident: $case:ident,)*) => {$(
            #[test]
            #[ignore = "needs a CUDA device"]
            fn $kernel() {
                conforms::<reference::$kernel::$case>(DeviceId::Cuda(0), Effort::FULL);
            }
        )*};
    }

    each_builtin!(tests);

    #[test]
    #[ignore = "needs a CUDA device"]
    fn refusals() {
        refusals::are_refused(DeviceId::Cuda(0));
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn declarations() {
        declarations::hold(DeviceId::Cuda(0));
    }
}
