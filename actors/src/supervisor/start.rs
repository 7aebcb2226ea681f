//! Starting: surroundings first, then each kernel in its order; undone in reverse where one fails.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use rustkernel_gpu::memory::{DeviceMemory, MemoryKind};
use slog::{error, info, o};

use super::drain::{self, ShutdownReport};
use super::lifecycle::{LifecycleEvent, LifecycleState, Step, transition};
use super::{
    AddKernel, Child, DeviceConfig, Lift, Load, Restart, Start, SupervisorActor, SupervisorConfig,
    Unload, surroundings,
};
use crate::allocator::{AllocatorActor, MemoryClient, Setting};
use crate::clock;
use crate::error::StartError;
use crate::kernel::{AnySpec, Order, SpawnEnvironment, Spawned};
use crate::restart::{Cause, Group};

impl SupervisorActor {
    /// Makes the surroundings and the kernels' actors. Nothing of the kernels runs yet.
    fn prepare(&mut self, ctx: &mut Context<Self>) -> Result<(), StartError> {
        let devices = self.config.devices.iter();
        let memories = devices.map(|device| self.allocator(device, ctx));
        let memories = memories.collect::<Result<_, _>>()?;
        let supervisor = ctx.address().recipient();
        let environment =
            surroundings(&self.config, &self.board, memories, supervisor, self.threads)?;
        self.board.write(|registry| {
            registry.memories.clone_from(&environment.memories);
            registry.started = Some(clock::now());
        });
        for client in &environment.memories {
            let info = client.device().info();
            info!(self.config.logger, "device ready"; "device" => %info.id, "name" => &info.name,
                "limit" => client.memory().stats(MemoryKind::Device).limit);
        }
        self.environment = Some(environment);
        for spec in std::mem::take(&mut self.specs) {
            self.adopt(spec)?;
        }
        Ok(())
    }

    /// Starts the allocator of a device.
    fn allocator(
        &self,
        DeviceConfig { device, limits, recorder }: &DeviceConfig,
        ctx: &Context<Self>,
    ) -> Result<MemoryClient, StartError> {
        let memory = DeviceMemory::new(device.clone(), limits);
        if let Some(recorder) = recorder {
            memory.record(recorder.clone()).expect("invariant: the memory is new");
        }
        let arbiter = self.threads.arbiter()?;
        let setting = Setting {
            memory,
            supervisor: ctx.address().recipient(),
            spill: self.config.spill.clone(),
            logger: self.config.logger.new(o!("device" => device.id().to_string())),
        };
        Ok(AllocatorActor::start(setting, arbiter))
    }

    /// Checks a kernel against the limits and makes its actor.
    fn adopt(&mut self, spec: Box<dyn AnySpec>) -> Result<(), StartError> {
        let taken =
            self.children.iter().map(|child| (child.name.as_str(), child.instances, child.threads));
        check_limits(&*spec, taken, &Limits::of(&self.config))?;
        let environment = self.environment.clone().expect("invariant: made before any kernel");
        let (name, instances, threads) = (spec.name().to_owned(), spec.instances(), spec.threads());
        let (group, shutdown_timeout) = (spec.group().map(str::to_owned), spec.shutdown_timeout());
        let Spawned { kernel, orders } = spec.spawn(&SpawnEnvironment(environment));
        self.board.write(|registry| registry.kernels.insert(name.clone(), Arc::clone(&kernel)));
        let child = Child { name, instances, threads, group, shutdown_timeout, kernel, orders };
        self.children.push(child);
        Ok(())
    }

    fn forget(&mut self, name: &str) {
        self.children.retain(|child| child.name != name);
        self.board.write(|registry| registry.kernels.remove(name));
    }

    /// Has kernels that are starting give up. (Whoever ends the start waits for their instances.)
    pub(super) fn interrupt_start(&self) {
        self.children.iter().for_each(|child| child.kernel.end_instances());
    }

    /// All kernels have started, some of them after they were told to stop: their instances may not have
    /// left yet, and hold memory.
    fn stop_started(&self) -> ResponseActFuture<Self, ()> {
        let children = self.children.clone();
        let stopped = async move { drain::stop_children(&children, clock::now()).await };
        Box::pin(stopped.into_actor(self).then(|abandoned_threads, actor, ctx| {
            actor.report = Some(ShutdownReport { abandoned_threads, ..ShutdownReport::default() });
            actor.release(ctx)
        }))
    }

    fn start_ended(&mut self, outcome: Result<(), StartError>) -> Result<(), StartError> {
        self.starting = false;
        // A shutdown asked for meanwhile wins over a start that succeeded.
        let outcome = match outcome {
            Ok(()) if self.shutdown_requested => Err(StartError::Interrupted),
            outcome => outcome,
        };
        let event = match &outcome {
            Ok(()) => LifecycleEvent::StartSucceeded,
            Err(_) => LifecycleEvent::StartFailed,
        };
        // (`Step::Stop` is done once everything is released.)
        if transition(self.state(), event) == Ok(Step::Run) {
            self.enter(LifecycleState::Running);
        }
        outcome
    }
}

/// What a runtime allows its kernels.
pub(crate) struct Limits<'a> {
    most_instances: usize,
    most_threads: usize,
    groups: &'a [Group],
    shutdown_timeout: Duration,
}

impl<'a> Limits<'a> {
    pub(crate) fn of(config: &'a SupervisorConfig) -> Self {
        Self {
            most_instances: config.max_kernel_instances,
            most_threads: config.threads.limit(),
            groups: &config.groups,
            shutdown_timeout: config.shutdown_timeout,
        }
    }

    fn check(&self, spec: &dyn AnySpec) -> Result<(), String> {
        let most = self.shutdown_timeout;
        if let Some(timeout) = spec.shutdown_timeout().filter(|timeout| *timeout > most) {
            return Err(format!(
                "its shutdown timeout is {timeout:?}, longer than the runtime's {most:?}"
            ));
        }
        match spec.group() {
            Some(group) if !self.groups.iter().any(|known| known.name == group) => {
                let known: Vec<&str> =
                    self.groups.iter().map(|group| group.name.as_str()).collect();
                Err(format!(
                    "its group `{group}` is not one of the runtime's ({}); add it by `with_group`",
                    known.join(", ")
                ))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a kernel has a name of its own, makes sense, and leaves the limits whole.
pub(crate) fn check_limits<'a>(
    spec: &dyn AnySpec,
    taken: impl Iterator<Item = (&'a str, usize, usize)>,
    limits: &Limits<'_>,
) -> Result<(), StartError> {
    let &Limits { most_instances, most_threads, .. } = limits;
    let kernel = spec.name().to_owned();
    spec.validate()
        .and_then(|()| limits.check(spec))
        .map_err(|reason| StartError::InvalidKernel { kernel: kernel.clone(), reason })?;
    let (mut instances, mut threads) = (0, 0);
    for (name, of_instances, of_threads) in taken {
        if name == kernel {
            return Err(StartError::DuplicateKernel(kernel));
        }
        instances += of_instances;
        threads += of_threads;
    }
    if instances + spec.instances() > most_instances {
        let (asked, used, limit) = (spec.instances(), instances, most_instances);
        return Err(StartError::TooManyInstances { kernel, asked, used, limit });
    }
    // One thread is left for host streams.
    if spec.threads() > 0 && threads + spec.threads() >= most_threads {
        let (asked, used, limit) = (spec.threads(), threads, most_threads);
        return Err(StartError::TooManyThreads { kernel, asked, used, limit });
    }
    Ok(())
}

/// Starts the kernels in order; if one fails, those before it are stopped in reverse.
async fn start_children(children: Vec<Child>) -> Result<(), StartError> {
    for (index, child) in children.iter().enumerate() {
        let started =
            child.orders.send(Order::Start).await.unwrap_or(Err(StartError::SupervisorGone));
        if let Err(error) = started {
            drain::stop_children(&children[..=index], clock::now()).await;
            return Err(error);
        }
    }
    Ok(())
}

impl Handler<Start> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Start { done }: Start, ctx: &mut Self::Context) {
        let refused = match transition(self.state(), LifecycleEvent::StartRequested) {
            Ok(_) if self.starting || self.environment.is_some() => {
                Some(StartError::NotNew(self.state()))
            }
            Ok(_) => None,
            Err(illegal) => Some(StartError::NotNew(illegal.state)),
        };
        if let Some(error) = refused {
            return done.send(Err(error)).map_or((), drop);
        }
        self.starting = true;
        let prepared = self.prepare(ctx);
        let children = self.children.clone();
        let started = async move {
            prepared?;
            start_children(children).await
        };
        ctx.spawn(started.into_actor(self).then(|outcome, actor, ctx| {
            let outcome = actor.start_ended(outcome);
            if let Err(error) = &outcome {
                error!(actor.config.logger, "runtime did not start"; "error" => %error);
            }
            let ends: ResponseActFuture<Self, ()> = match &outcome {
                Ok(()) => Box::pin(actix::fut::ready(())),
                Err(StartError::Interrupted) => actor.stop_started(),
                Err(_) => actor.release(ctx),
            };
            done.send(outcome).ok();
            ends
        }));
    }
}

impl Handler<AddKernel> for SupervisorActor {
    type Result = ResponseActFuture<Self, Result<(), StartError>>;

    fn handle(&mut self, AddKernel(spec): AddKernel, _: &mut Self::Context) -> Self::Result {
        let name = spec.name().to_owned();
        let adopted = match self.state() {
            LifecycleState::Running => self.adopt(spec),
            state => Err(StartError::NotNew(state)),
        };
        if let Err(error) = adopted {
            return Box::pin(actix::fut::ready(Err(error)));
        }
        let child = self.children.last().cloned().into_iter().collect();
        Box::pin(start_children(child).into_actor(self).map(move |outcome, actor, _| {
            if outcome.is_err() {
                actor.forget(&name);
            }
            outcome
        }))
    }
}

impl Handler<Lift> for SupervisorActor {
    type Result = ResponseFuture<Option<bool>>;

    fn handle(&mut self, Lift(name): Lift, _: &mut Self::Context) -> Self::Result {
        let child = self.child(&name);
        Box::pin(async move { Some(drain::ordered(&child?, Order::Probe).await == 1) })
    }
}

impl Handler<Unload> for SupervisorActor {
    type Result = ResponseFuture<Option<usize>>;

    fn handle(&mut self, Unload(name): Unload, _: &mut Self::Context) -> Self::Result {
        let child = self.child(&name);
        let default = self.config.shutdown_timeout;
        Box::pin(async move {
            let child = child?;
            let within = child.shutdown_timeout.unwrap_or(default);
            Some(drain::ordered(&child, Order::Unload { within }).await)
        })
    }
}

impl Handler<Load> for SupervisorActor {
    type Result = ResponseFuture<Option<Result<usize, StartError>>>;

    fn handle(&mut self, Load(name): Load, _: &mut Self::Context) -> Self::Result {
        let child = self.child(&name);
        Box::pin(async move { child?.orders.send(Order::Load).await.ok() })
    }
}

impl Handler<Restart> for SupervisorActor {
    type Result = bool;

    fn handle(&mut self, Restart(name): Restart, ctx: &mut Self::Context) -> bool {
        let known = self.child(&name).is_some();
        self.restart_group(name, Cause::Asked, Duration::ZERO, ctx);
        known
    }
}
