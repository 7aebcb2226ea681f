//! The built-in kernels through the runtime: typed calls and calls by name against the references,
//! their signatures, their refusals, and the memory that they declare.
//!
//! On the host, and on the first CUDA device where there is one:
//!
//! ```text
//! cargo test -p rustkernel-tests --test kernels -- --ignored cuda
//! ```
#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "kernels/cancellation.rs"]
mod cancellation;
#[path = "kernels/declarations.rs"]
mod declarations;
#[path = "kernels/defaults.rs"]
mod defaults;
#[path = "kernels/empties.rs"]
mod empties;
#[path = "kernels/protocol.rs"]
mod protocol;
#[path = "kernels/refusals.rs"]
mod refusals;
#[path = "kernels/signatures.rs"]
mod signatures;

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustkernel_core::message::{Fields, KernelMessage};
use rustkernel_gpu::DeviceId;
use rustkernel_tests::builtin::{Builtin, Response};
use rustkernel_tests::eventually;
use rustkernel_tests::reference::{self, Effort, conform};
use rustkernel_tests::running::{Running, executor};

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

/// The CUDA device is one test's at a time: a kernel that stops waits, in the driver, for whatever
/// runs there.
fn alone() -> MutexGuard<'static, ()> {
    static DEVICE: Mutex<()> = Mutex::new(());
    DEVICE.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[test]
    fn empties() {
        empties::have_padding(DeviceId::Host);
    }
}

/// On a CUDA device in host memory, which runs the kernels' PTX.
mod fake_cuda {
    use ::fake_cuda::ledger;

    use super::*;

    const EFFORT: Effort = Effort { large: true, random: 64 };

    /// Runs a test on the fake's device, and waits until all that it left there has gone.
    ///
    /// The driver is installed by the first test here: where none of these runs, the driver is the
    /// machine's.
    fn on_the_device(test: impl FnOnce(DeviceId)) {
        let _alone = alone();
        rustkernel_tests::fake::install();
        test(DeviceId::Cuda(0));
        let gone = || {
            let ledger = ledger(0);
            (ledger.device_bytes, ledger.pinned_bytes, ledger.streams) == (0, 0, 0)
        };
        executor().block_on(eventually("nothing is left on the device", gone));
    }

    macro_rules! tests {
        ($($kernel:ident: $case:ident,)*) => {$(
            #[test]
            fn $kernel() {
                on_the_device(|device| conforms::<reference::$kernel::$case>(device, EFFORT));
            }
        )*};
    }

    each_builtin!(tests);

    #[test]
    fn refusals() {
        on_the_device(refusals::are_refused);
    }

    #[test]
    fn empties() {
        on_the_device(empties::have_padding);
    }

    #[test]
    fn declarations() {
        on_the_device(declarations::hold);
    }

    #[test]
    fn cancellation() {
        on_the_device(cancellation::ends_pagerank);
    }

    #[test]
    fn protocol() {
        on_the_device(protocol::is_kept);
    }
}

/// On the machine's first CUDA device.
mod cuda {
    use super::*;

    fn on_the_device(test: impl FnOnce(DeviceId)) {
        let _alone = alone();
        let driver = rustkernel_driver::location().expect("there is a CUDA driver");
        assert_ne!(
            driver,
            rustkernel_tests::fake::NAME,
            "run these tests without those of the fake driver"
        );
        test(DeviceId::Cuda(0));
    }

    macro_rules! tests {
        ($($kernel:ident: $case:ident,)*) => {$(
            #[test]
            #[ignore = "needs a CUDA device"]
            fn $kernel() {
                on_the_device(|device| conforms::<reference::$kernel::$case>(device, Effort::FULL));
            }
        )*};
    }

    each_builtin!(tests);

    #[test]
    #[ignore = "needs a CUDA device"]
    fn refusals() {
        on_the_device(refusals::are_refused);
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn empties() {
        on_the_device(empties::have_padding);
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn declarations() {
        on_the_device(declarations::hold);
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn cancellation() {
        on_the_device(cancellation::ends_pagerank);
    }
}
