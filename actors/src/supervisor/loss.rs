//! Lost devices: who is told, the tries to get them back, and what becomes of their kernels.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use futures_util::future::join_all;
use rustkernel_gpu::{DeviceError, DeviceId};
use slog::{error, info, warn};
use tokio::sync::oneshot;

use super::drain::ordered;
use super::{Child, StopReason, SupervisorActor};
use crate::allocator::MemoryClient;
use crate::event::RuntimeEvent;
use crate::kernel::{Hold, Order};
use crate::restart::Cause;

/// How long requests in flight have to hear of the loss from their own device calls, before they are
/// told by us.
const HEARING: Duration = Duration::from_millis(50);
/// The waits before the tries to get a device back.
const TRIES: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(5)];
/// How long a try may take.
const TRY: Duration = Duration::from_secs(30);

/// What is done when a device is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDeviceLoss {
    /// It is reset and tried; its kernels go on there, or move elsewhere.
    #[default]
    Recover,
    /// The runtime drains and stops, so that whoever started the process can start another.
    Exit,
}

/// Resets the device and tries it, on the thread of its allocator.
async fn recover(client: &MemoryClient) -> Result<(), String> {
    let mut reason = String::new();
    for wait in TRIES {
        tokio::time::sleep(wait).await;
        match tokio::time::timeout(TRY, client.recover()).await {
            Ok(Ok(_epoch)) => return Ok(()),
            Ok(Err(error)) => reason = error.to_string(),
            Err(_elapsed) => return Err(format!("the reset did not end within {TRY:?}")),
        }
    }
    Err(reason)
}

impl SupervisorActor {
    /// A device does not work any more. Told once for each loss, whoever meets it first.
    pub(super) fn device_lost(&mut self, device: DeviceId, ctx: &mut Context<Self>) {
        if self.lost.contains(&device) {
            return;
        }
        let mut clients = self.clients().iter();
        let Some(client) = clients.find(|client| client.device().id() == device).cloned() else {
            return;
        };
        self.lost.push(device);
        let reason =
            client.device().health().err().map_or_else(String::new, |error| error.to_string());
        error!(self.config.logger, "device lost"; "device" => %device, "reason" => &reason);
        self.board.announcer.tell(RuntimeEvent::DeviceLost { device, reason });
        if self.config.on_device_loss == OnDeviceLoss::Exit {
            return self.escalate(StopReason::DeviceLost(device), ctx);
        }
        let children = self.children.clone();
        let recovered = async move {
            suspend(&children, device).await;
            let recovered = recover(&client).await;
            (children, recovered)
        };
        ctx.spawn(recovered.into_actor(self).map(move |(children, recovered), actor, ctx| {
            match recovered {
                Ok(()) => actor.device_back(device, children, ctx),
                Err(reason) => actor.device_out(device, reason, children, ctx),
            }
        }));
    }

    fn device_back(&mut self, device: DeviceId, children: Vec<Child>, ctx: &mut Context<Self>) {
        info!(self.config.logger, "device recovered"; "device" => %device);
        self.lost.retain(|lost| *lost != device);
        self.board.announcer.tell(RuntimeEvent::DeviceRecovered { device });
        let resumed = async move {
            for child in &children {
                ordered(child, Order::Resume { hold: Hold::Device(device) }).await;
            }
        };
        ctx.spawn(resumed.into_actor(self));
    }

    /// The device stays in the list of those lost.
    fn device_out(
        &mut self,
        device: DeviceId,
        reason: String,
        children: Vec<Child>,
        ctx: &mut Context<Self>,
    ) {
        warn!(self.config.logger, "device does not come back, its kernels move or end";
            "device" => %device, "reason" => &reason);
        self.board.announcer.tell(RuntimeEvent::DeviceOut { device, reason });
        let moved = async move {
            for child in &children {
                ordered(child, Order::Move { from: device }).await;
            }
        };
        ctx.spawn(moved.into_actor(self));
    }
}

/// Has every kernel with instances there let go of the device.
async fn suspend(children: &[Child], device: DeviceId) {
    let suspend = |child| {
        let cause = Cause::DeviceLost(device);
        ordered(child, Order::Suspend { hold: Hold::Device(device), within: HEARING, cause })
    };
    join_all(children.iter().map(suspend)).await;
}

impl MemoryClient {
    /// Resets the device and tries it, on its allocator's thread.
    async fn recover(&self) -> Result<u64, DeviceError> {
        let (done, recovered) = oneshot::channel();
        let (memory, id) = (Arc::clone(self.memory()), self.device().id());
        self.arbiter().spawn_fn(move || {
            let recovered = memory.device().recover();
            if recovered.is_ok() {
                // As at the start: some staging memory, and what others hold.
                memory.prepare(true);
                memory.sample_foreign().ok();
            }
            done.send(recovered).ok();
        });
        recovered.await.unwrap_or(Err(DeviceError::AllocatorStopped { device: id }))
    }
}
