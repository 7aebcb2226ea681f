//! The device beside the host, which can be lost: who plays it, who breaks it, and who else uses it.

use std::sync::Arc;

use rustkernel_actors::supervisor::LifecycleState;
use rustkernel_gpu::memory::{
    DeviceMemory, Grown, Leased, MemoryKind, MemoryLimits, PressureThresholds,
};
use rustkernel_gpu::simulated::{Player, SimulatedDevice, Work};
use rustkernel_gpu::{Buffer, DeviceError, DeviceResult, Stream, StreamOptions};

use super::fault::Fault;
use super::plan::{PAGE, choose, millis};
use super::stage::{self, Stage};

/// Pages that others than the runtime may use.
const OTHERS: u64 = 16;
/// Codes that break a context.
const STICKY: [u32; 4] = [700, 710, 714, 719];

/// Ends each piece of work a millisecond after it came.
struct Milliseconds;

impl Player for Milliseconds {
    fn run(&self, work: Work) {
        tokio::task::spawn_local(async move {
            tokio::time::sleep(millis(1)).await;
            work.end();
        });
    }

    fn broken(&self) {
        stage::with(Stage::device_lost);
    }
}

/// A device with so many bytes for the runtime.
pub(super) fn open(bytes: u64) -> SimulatedDevice {
    SimulatedDevice::new(0, bytes + OTHERS * PAGE, Milliseconds)
}

/// Breaks the device at some call, again and again, until it does not come back.
pub(super) async fn lose(device: Option<&SimulatedDevice>) {
    let device = device.expect("invariant: who can be lost is there");
    while stage::with(|stage| stage.device_out) == Some(false) {
        tokio::time::sleep(millis(stage::draw(1..100))).await;
        if device.device().health().is_err() {
            continue;
        }
        let code = stage::with(|stage| *choose(&STICKY, &mut stage.random)).unwrap_or(STICKY[0]);
        device.break_after(stage::draw(0..40), code);
        if stage::fires(Fault::ResetFails, 2) {
            device.fail_resets(stage::draw(1..4) as u32);
        }
    }
    std::future::pending().await
}

/// Uses the device beside the runtime, with memory and a stream of its own, which it goes on with when they are
/// of a context that has ended: then it has to be refused.
pub(super) async fn keep(device: SimulatedDevice) {
    let limits = MemoryLimits {
        device_bytes: OTHERS * PAGE,
        staging_bytes: 0,
        pooling: true,
        defrag: true,
        thresholds: PressureThresholds::default(),
    };
    let memory = DeviceMemory::new(device.device().clone(), &limits);
    while stage::with(|stage| stage.lifecycle == LifecycleState::Running) == Some(true) {
        tokio::time::sleep(millis(stage::draw(1..50))).await;
        if let Ok((stream, buffer)) = take(&memory) {
            use_up(&device, stream, buffer).await;
        }
    }
}

fn take(memory: &Arc<DeviceMemory>) -> DeviceResult<(Stream, Buffer<u8>)> {
    let stream = memory.open_stream(&StreamOptions::default())?;
    let leased = memory.lease(MemoryKind::Device, PAGE as usize, Some(&stream), None)?;
    let lease = match leased {
        Leased::Ready(lease) => lease,
        Leased::NeedsGrowth(growth) => match growth.run()? {
            Grown::Ready(lease) => lease,
            Grown::Short(growth) | Grown::Wait(growth, _) => return Err(growth.give_up()),
        },
    };
    Ok((stream, Buffer::new(lease, PAGE as usize)?))
}

/// Uses it a few times.
async fn use_up(device: &SimulatedDevice, mut stream: Stream, mut buffer: Buffer<u8>) {
    let epoch = device.device().epoch();
    for _ in 0..stage::draw(1..10) {
        let filled = stream.fill(&mut buffer, 1).and_then(|()| stream.completion());
        let is_lost = device.device().epoch() != epoch;
        let is_refused = matches!(filled, Err(DeviceError::Lost { .. }));
        stage::with(|stage| {
            stage.check(is_refused == is_lost, || {
                format!(
                    "a handle of epoch {epoch} was used, lost: {is_lost}, refused: {is_refused}"
                )
            });
        });
        if let Ok(done) = filled {
            done.await.ok();
        }
        tokio::time::sleep(millis(stage::draw(1..100))).await;
    }
}
