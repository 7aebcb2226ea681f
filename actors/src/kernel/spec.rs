//! How a kernel is to be run.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use actix::{ArbiterHandle, Recipient};
use futures_util::future::BoxFuture;
use rustkernel_gpu::memory::Need;
use rustkernel_gpu::{DeviceId, DeviceKind};
use slog::Logger;

use super::actor::{KernelActor, KernelReport, Order};
use super::reference::KernelRef;
use super::shared::{AnyKernel, Shared};
use super::{CallOptions, Devices, Kernel, Priority};
use crate::allocator::MemoryClient;
use crate::error::CallError;
use crate::event::Announcer;
use crate::hosted::AnyMailbox;
use crate::instance::Lanes;
use crate::message::{FieldSpec, Fields, KernelMessage, MessageError, Signature};
use crate::restart::{DeadLetters, Group, RestartPolicy, RetryPolicy, Strategy};
use crate::supervisor::LifecycleCell;

/// How many requests may be open at a kernel, unless its spec says otherwise.
const QUEUE: usize = 1024;
/// How long a request may take, unless its kernel's spec or its caller says otherwise.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long a kernel's start may take, unless its spec says otherwise.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a kernel's instances run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// On the CUDA devices, in turn, if there are any and the kernel has code for them; else on the
    /// host.
    #[default]
    Auto,
    /// On that device.
    On(DeviceId),
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::On(device) => device.fmt(f),
        }
    }
}

/// `auto`, or a device.
impl FromStr for DeviceChoice {
    type Err = <DeviceId as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "auto" { Ok(Self::Auto) } else { text.parse().map(Self::On) }
    }
}

/// On which thread an instance lives.
#[derive(Debug, Clone, Default)]
pub enum Placement {
    /// On a thread of its own. Its code may block: only itself waits. One of `blocking_threads`.
    #[default]
    Dedicated,
    /// On one of the runtime's `worker_threads`, with others. Its code must not block: it starts
    /// work, awaits it, and answers.
    Shared,
    /// On an actix arbiter of the application's, beside its actors. Its code must not block.
    On(ArbiterHandle),
}

/// How to run a kernel: everything has a default but the name and the factory.
pub struct KernelSpec<K: Kernel> {
    pub(crate) parts: Parts<K>,
    signature: Option<Signature>,
}

type Factory<K> = Arc<dyn Fn() -> K + Send + Sync>;
type MemoryNeed<K> = Arc<dyn Fn(&<K as Kernel>::Request, DeviceKind) -> Need + Send + Sync>;
type Check<K> = fn(&<K as Kernel>::Request, &[FieldSpec]) -> Result<(), MessageError>;
type CallByName<K> =
    fn(KernelRef<K>, Fields) -> BoxFuture<'static, Result<Fields, CallError<Fields>>>;

type CallNamed<K> =
    fn(KernelRef<K>, Fields, CallOptions) -> BoxFuture<'static, Result<Fields, CallError<()>>>;

/// What a kernel's actor and instances need of its spec.
pub(crate) struct Parts<K: Kernel> {
    pub(crate) name: Arc<str>,
    pub(crate) version: String,
    pub(crate) description: String,
    pub(crate) factory: Factory<K>,
    pub(crate) instances: usize,
    pub(crate) queue: usize,
    pub(crate) deadline: Option<Duration>,
    pub(crate) start_timeout: Duration,
    pub(crate) device: DeviceChoice,
    pub(crate) placement: Placement,
    pub(crate) need: Option<MemoryNeed<K>>,
    pub(crate) priority: Priority,
    pub(crate) published: Option<Published<K>>,
    pub(crate) restart: RestartPolicy,
    pub(crate) retry: Option<Retry<K>>,
    pub(crate) group: Option<String>,
    pub(crate) shutdown_timeout: Option<Duration>,
    /// If it hosts an actor.
    pub(crate) mailbox: Option<Arc<dyn AnyMailbox>>,
}

/// How requests are tried again.
pub(crate) struct Retry<K: Kernel> {
    pub(crate) policy: RetryPolicy,
    pub(crate) clone: fn(&K::Request) -> K::Request,
}

/// What makes a kernel callable by name.
pub(crate) struct Published<K: Kernel> {
    pub(crate) signature: Signature,
    pub(crate) check: Check<K>,
    pub(crate) call: CallByName<K>,
    pub(crate) call_named: CallNamed<K>,
}

impl<K: Kernel> KernelSpec<K> {
    /// A kernel called `name` whose instances are made by `factory`: at the first start and at each
    /// restart, on the thread where the instance lives.
    pub fn new(name: impl Into<String>, factory: impl Fn() -> K + Send + Sync + 'static) -> Self {
        let parts = Parts {
            name: name.into().into(),
            version: "1".into(),
            description: String::new(),
            factory: Arc::new(factory),
            instances: 1,
            queue: QUEUE,
            deadline: Some(DEADLINE),
            start_timeout: START_TIMEOUT,
            device: DeviceChoice::Auto,
            placement: Placement::Dedicated,
            need: None,
            priority: Priority::default(),
            published: None,
            restart: RestartPolicy::default(),
            retry: None,
            group: None,
            shutdown_timeout: None,
            mailbox: None,
        };
        Self { parts, signature: None }
    }

    /// How many instances serve requests side by side. The default is 1.
    #[must_use]
    pub fn instances(mut self, count: usize) -> Self {
        self.parts.instances = count;
        self
    }

    /// How many requests may be open at once, waiting or running, over all callers. The default is
    /// 1024.
    #[must_use]
    pub fn queue(mut self, bound: usize) -> Self {
        self.parts.queue = bound;
        self
    }

    /// How long a request may take, from the call to the answer. The default is 60 s.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.parts.deadline = Some(deadline);
        self
    }

    /// Requests may take as long as they take.
    #[must_use]
    pub fn no_deadline(mut self) -> Self {
        self.parts.deadline = None;
        self
    }

    /// How long the instances' start may take. The default is 30 s.
    #[must_use]
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.parts.start_timeout = timeout;
        self
    }

    /// How long an instance may take to finish its request when it is stopped alone or with its group,
    /// and the kernel to finish all of them when the runtime drains: the runtime's shutdown timeout, if this
    /// is not set. Also how long [`close`](Kernel::close) may take: if this is not set, as long as a start.
    #[must_use]
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.parts.shutdown_timeout = Some(timeout);
        self
    }

    /// When instances are restarted, how often, how soon, and what happens when that is not enough. The
    /// default is [`RestartPolicy::permanent`].
    #[must_use]
    pub fn restart(mut self, policy: RestartPolicy) -> Self {
        self.parts.restart = policy;
        self
    }

    /// The kernel belongs to that group of the runtime's; see [`Group`](crate::Group).
    #[must_use]
    pub fn group(mut self, name: impl Into<String>) -> Self {
        self.parts.group = Some(name.into());
        self
    }

    /// Requests whose kernel ended while they ran are tried again. For kernels whose requests may be run
    /// more than once without harm.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self
    where
        K::Request: Clone,
    {
        self.parts.retry = Some(Retry { policy, clone: K::Request::clone });
        self
    }

    /// The device memory that a request will hold at most, in bytes. It is reserved before the
    /// request starts, so that memory cannot run out half-way; a request that allocates more fails.
    /// Without this a request allocates as it goes.
    #[must_use]
    pub fn memory(self, bytes: impl Fn(&K::Request) -> u64 + Send + Sync + 'static) -> Self {
        self.memory_on(move |request, _| Need::device(bytes(request)))
    }

    /// As [`memory`](Self::memory), by the kind of device and with staging memory.
    #[must_use]
    pub fn memory_on(
        mut self,
        need: impl Fn(&K::Request, DeviceKind) -> Need + Send + Sync + 'static,
    ) -> Self {
        self.parts.need = Some(Arc::new(need));
        self
    }

    /// How much requests matter where memory is short, unless their caller says otherwise by
    /// [`KernelRef::with_priority`]. The default is [`Priority::Normal`].
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.parts.priority = priority;
        self
    }

    /// Where the instances run. The default is [`DeviceChoice::Auto`].
    #[must_use]
    pub fn device(mut self, device: DeviceChoice) -> Self {
        self.parts.device = device;
        self
    }

    /// On which thread each instance lives. The default is one of its own.
    #[must_use]
    pub fn placement(mut self, placement: Placement) -> Self {
        self.parts.placement = placement;
        self
    }

    /// What the kernel does, in a sentence.
    #[must_use]
    pub fn describe(mut self, description: impl Into<String>) -> Self {
        self.parts.description = description.into();
        self
    }

    /// The version of the kernel's interface. The default is 1.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.parts.version = version.into();
        self
    }

    /// The kernel hosts the actor of that mailbox.
    pub(crate) fn host(mut self, mailbox: Arc<dyn AnyMailbox>) -> Self {
        self.parts.mailbox = Some(mailbox);
        self
    }

    /// The kernel's name.
    pub fn name(&self) -> &str {
        &self.parts.name
    }

    /// The kernel's signature, if it is [published](Self::publish).
    pub fn signature(&self) -> Option<Signature> {
        let mut signature = self.signature.clone()?;
        signature.name = self.parts.name.to_string();
        signature.version.clone_from(&self.parts.version);
        signature.description.clone_from(&self.parts.description);
        Some(signature)
    }
}

impl<K: Kernel> KernelSpec<K>
where
    K::Request: KernelMessage,
    K::Response: KernelMessage,
{
    /// Makes the kernel callable by name, from the command line and over the network, and has the
    /// shapes of its requests checked before they are queued.
    #[must_use]
    pub fn publish(mut self) -> Self {
        let (request, response) = (K::Request::fields(), K::Response::fields());
        let (name, version, description) = (String::new(), String::new(), String::new());
        let signature = Signature { name, version, description, request, response };
        self.signature = Some(signature.clone());
        let (check, call) = (K::Request::check, call_by_name);
        self.parts.published = Some(Published { signature, check, call, call_named });
        self
    }
}

fn call_by_name<K: Kernel>(
    kernel: KernelRef<K>,
    fields: Fields,
) -> BoxFuture<'static, Result<Fields, CallError<Fields>>>
where
    K::Request: KernelMessage,
    K::Response: KernelMessage,
{
    Box::pin(async move {
        let request = match K::Request::from_fields(fields.clone()) {
            Ok(request) => request,
            Err(error) => return Err(kernel.reject(error.into(), fields)),
        };
        let response = kernel.call(request).await;
        response
            .map(KernelMessage::into_fields)
            .map_err(|error| error.map_request(KernelMessage::into_fields))
    })
}

fn call_named<K: Kernel>(
    mut kernel: KernelRef<K>,
    fields: Fields,
    options: CallOptions,
) -> BoxFuture<'static, Result<Fields, CallError<()>>>
where
    K::Request: KernelMessage,
    K::Response: KernelMessage,
{
    Box::pin(async move {
        let CallOptions { timeout, priority, no_waiting, timing, gather } = options;
        // (In place: `with_priority` and its like would each make another reference, and count it.)
        kernel.priority = priority.unwrap_or(kernel.priority);
        (kernel.timing, kernel.gathers) = (timing, gather);
        let request = match K::Request::from_fields(fields) {
            Ok(request) => request,
            Err(error) => return Err(kernel.reject(error.into(), ())),
        };
        let answer = match (timeout, no_waiting) {
            (None, false) => kernel.call(request).await,
            (None, true) => kernel.try_call(request).await,
            (Some(timeout), false) => kernel.call_within(request, timeout).await,
            (Some(timeout), true) => kernel.try_call_within(request, timeout).await,
        };
        answer.map(KernelMessage::into_fields).map_err(CallError::forget_request)
    })
}

impl<K: Kernel> fmt::Debug for KernelSpec<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KernelSpec")
            .field("name", &self.parts.name)
            .field("instances", &self.parts.instances)
            .field("device", &self.parts.device)
            .field("placement", &self.parts.placement)
            .finish_non_exhaustive()
    }
}

/// What a kernel's actor finds around it.
#[derive(Clone)]
pub(crate) struct Environment {
    pub(crate) lifecycle: Arc<LifecycleCell>,
    pub(crate) memories: Vec<MemoryClient>,
    pub(crate) lanes: Arc<Lanes>,
    pub(crate) announcer: Announcer,
    pub(crate) logger: Logger,
    /// How long either side of a call looks before it sleeps.
    pub(crate) spin: Duration,
    pub(crate) supervisor: Recipient<KernelReport>,
    pub(crate) dead_letters: Arc<DeadLetters>,
    pub(crate) groups: Arc<[Group]>,
    /// Of the jitter of restarts.
    pub(crate) seed: u64,
}

impl Environment {
    /// Whether kernels of that group are restarted together.
    pub(super) fn shares_fate(&self, group: Option<&str>) -> bool {
        Strategy::of(&self.groups, group) != Strategy::OneForOne
    }
}

/// A kernel to run, whatever its type.
pub trait AnySpec: Send {
    /// The kernel's name.
    fn name(&self) -> &str;

    /// Its instances.
    fn instances(&self) -> usize;

    /// Threads of their own that they need.
    fn threads(&self) -> usize;

    /// Its signature, if it is published.
    fn signature(&self) -> Option<Signature>;

    /// Sets where the instances run; see [`KernelSpec::device`].
    fn set_device(&mut self, device: DeviceChoice);

    /// Sets how many instances there are; see [`KernelSpec::instances`].
    fn set_instances(&mut self, count: usize);

    /// Sets how many requests may be open; see [`KernelSpec::queue`].
    fn set_queue(&mut self, bound: usize);

    /// The group that it belongs to, if any.
    fn group(&self) -> Option<&str>;

    /// How long it may take to finish its requests when it is stopped, if not as long as the runtime.
    fn shutdown_timeout(&self) -> Option<Duration>;

    /// When instances are restarted; see [`KernelSpec::restart`].
    fn restart(&self) -> RestartPolicy;

    /// Sets when instances are restarted.
    fn set_restart(&mut self, policy: RestartPolicy);

    /// Sets how long the instances' start may take; see [`KernelSpec::start_timeout`].
    fn set_start_timeout(&mut self, timeout: Duration);

    /// Sets how long it may take to finish its requests; see [`KernelSpec::shutdown_timeout`].
    fn set_shutdown_timeout(&mut self, timeout: Duration);

    /// Sets how much requests matter where memory is short; see [`KernelSpec::priority`].
    fn set_priority(&mut self, priority: Priority);

    /// Sets the group that it belongs to; see [`KernelSpec::group`].
    fn set_group(&mut self, name: String);

    /// Sets how long a request may take; see [`KernelSpec::deadline`].
    fn set_deadline(&mut self, deadline: Option<Duration>);

    /// What makes no sense about it.
    ///
    /// # Errors
    /// A sentence.
    fn validate(&self) -> Result<(), String>;

    /// Makes the kernel's actor on the current arbiter. Nothing is started.
    #[doc(hidden)]
    fn spawn(self: Box<Self>, environment: &SpawnEnvironment) -> Spawned;
}

/// An [`Environment`], opaque outside of this crate.
pub struct SpawnEnvironment(pub(crate) Environment);

/// A kernel's shared part and the address that takes its orders, opaque outside of this crate.
pub struct Spawned {
    pub(crate) kernel: Arc<dyn AnyKernel>,
    pub(crate) orders: Recipient<Order>,
}

impl<K: Kernel> AnySpec for KernelSpec<K> {
    fn name(&self) -> &str {
        Self::name(self)
    }

    fn instances(&self) -> usize {
        self.parts.instances
    }

    fn threads(&self) -> usize {
        match self.parts.placement {
            Placement::Dedicated => self.parts.instances,
            Placement::Shared | Placement::On(_) => 0,
        }
    }

    fn signature(&self) -> Option<Signature> {
        Self::signature(self)
    }

    fn set_device(&mut self, device: DeviceChoice) {
        self.parts.device = device;
    }

    fn set_instances(&mut self, count: usize) {
        self.parts.instances = count;
    }

    fn set_queue(&mut self, bound: usize) {
        self.parts.queue = bound;
    }

    fn group(&self) -> Option<&str> {
        self.parts.group.as_deref()
    }

    fn shutdown_timeout(&self) -> Option<Duration> {
        self.parts.shutdown_timeout
    }

    fn restart(&self) -> RestartPolicy {
        self.parts.restart
    }

    fn set_start_timeout(&mut self, timeout: Duration) {
        self.parts.start_timeout = timeout;
    }

    fn set_shutdown_timeout(&mut self, timeout: Duration) {
        self.parts.shutdown_timeout = Some(timeout);
    }

    fn set_priority(&mut self, priority: Priority) {
        self.parts.priority = priority;
    }

    fn set_group(&mut self, name: String) {
        self.parts.group = Some(name);
    }

    fn set_restart(&mut self, policy: RestartPolicy) {
        self.parts.restart = policy;
    }

    fn set_deadline(&mut self, deadline: Option<Duration>) {
        self.parts.deadline = deadline;
    }

    fn validate(&self) -> Result<(), String> {
        let Parts { instances, queue, device, .. } = &self.parts;
        if self.name().trim().is_empty() {
            return Err("its name is empty".into());
        }
        if *instances == 0 {
            return Err("it has no instances; ask for at least one".into());
        }
        if !(1..=1 << 20).contains(queue) {
            return Err(format!(
                "its queue holds {queue} requests; between 1 and 1048576 make sense"
            ));
        }
        if let Some(mailbox) = &self.parts.mailbox {
            validate_actor(*instances, mailbox.capacity())?;
        }
        self.parts.restart.validate()?;
        if let Some(retry) = &self.parts.retry {
            retry.policy.validate()?;
        }
        match device {
            DeviceChoice::On(id) if !K::DEVICES.includes(id.kind()) => {
                Err(format!("it has no code for {id}, only for {}", kinds(K::DEVICES)))
            }
            DeviceChoice::On(_) | DeviceChoice::Auto => Ok(()),
        }
    }

    fn spawn(mut self: Box<Self>, environment: &SpawnEnvironment) -> Spawned {
        let signature = self.signature();
        if let (Some(published), Some(signature)) = (&mut self.parts.published, signature) {
            published.signature = signature;
        }
        let shared = Arc::new(Shared::new(self.parts, &environment.0));
        let orders = KernelActor::spawn(Arc::clone(&shared), environment.0.clone());
        Spawned { kernel: shared, orders }
    }
}

fn validate_actor(instances: usize, capacity: usize) -> Result<(), String> {
    if instances != 1 {
        return Err(format!("it is an actor, and has one instance; {instances} are asked for"));
    }
    if !(1..=1 << 20).contains(&capacity) {
        return Err(format!(
            "its mailbox holds {capacity} messages; between 1 and 1048576 make sense"
        ));
    }
    Ok(())
}

fn kinds(devices: Devices) -> &'static str {
    match devices {
        Devices::Host => "the host",
        Devices::Cuda => "CUDA devices",
        Devices::Any => "the host and CUDA devices",
    }
}
