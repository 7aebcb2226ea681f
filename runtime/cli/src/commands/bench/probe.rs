//! The kernel that does what is measured, where it is to be measured: on an instance's thread.

use std::hint::black_box;
use std::time::Duration;

use rustkernel_core::kernel::Instant;
use rustkernel_core::prelude::*;

/// What it is called.
pub(super) const NAME: &str = "bench";

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    /// Nothing: the call itself is measured, by its caller.
    Nothing,
    /// Lease a block of the device's memory and give it back, that many times.
    Leases { bytes: usize, times: u32 },
    /// Take a block from this program's allocator and free it, that many times.
    Blocks { bytes: usize, times: u32 },
    /// Copy so much to the device, and back.
    Copies { bytes: usize },
}

/// How long it took.
#[derive(Debug, Clone, Copy)]
pub(super) enum Took {
    /// Nothing that was measured here.
    Nothing,
    /// All times together.
    Together(Duration),
    /// To the device, and back.
    Copies { up: Duration, down: Duration },
}

/// What is copied; kept, so that filling it anew does not take long.
#[derive(Debug, Default)]
pub(super) struct Probe {
    data: Vec<u64>,
    copies: u64,
}

/// A number in each page is changed, so that what a copy before has left is not taken for this one's.
const PAGE: usize = 4096 / size_of::<u64>();

impl Kernel for Probe {
    type Request = Work;
    type Response = Took;

    const DEVICES: Devices = Devices::Any;

    async fn execute(&mut self, work: Work, cx: &mut KernelContext) -> KernelResult<Took> {
        match work {
            Work::Nothing => Ok(Took::Nothing),
            Work::Leases { bytes, times } => {
                let start = Instant::now();
                for _ in 0..times {
                    drop(black_box(cx.alloc::<u8>(bytes).await?));
                }
                Ok(Took::Together(start.elapsed()))
            }
            Work::Blocks { bytes, times } => {
                let start = Instant::now();
                for _ in 0..times {
                    drop(black_box(Vec::<u8>::with_capacity(black_box(bytes))));
                }
                Ok(Took::Together(start.elapsed()))
            }
            Work::Copies { bytes } => self.copy(bytes, cx).await,
        }
    }
}

impl Probe {
    /// There and back, and a look whether it is the same.
    async fn copy(&mut self, bytes: usize, cx: &mut KernelContext) -> KernelResult<Took> {
        self.copies += 1;
        self.data.resize(bytes / size_of::<u64>(), 0);
        self.data.iter_mut().step_by(PAGE).for_each(|number| *number = self.copies);
        let start = Instant::now();
        let buffer = cx.upload(&self.data).await?;
        cx.stream().completion()?.await?;
        let up = start.elapsed();
        let start = Instant::now();
        let back = cx.download(&buffer).await?;
        let down = start.elapsed();
        if back != self.data {
            return Err(KernelError::failed(
                "what came back from the device is not what went there",
            ));
        }
        Ok(Took::Copies { up, down })
    }
}
