//! A built-in kernel in a runtime of its own, on a device of choice.

use rustkernel_core::kernel::{CallError, DeviceChoice, KernelRef, KernelStats};
use rustkernel_core::memory::MemoryConfig;
use rustkernel_core::message::{Fields, KernelMessage, check_shapes};
use rustkernel_core::runtime::{Runtime, RuntimeBuilder};
use rustkernel_gpu::{DeviceId, DeviceKind};

use crate::builtin::{Builtin, Request, Response};

/// A runtime with the kernel of a case. Calls block.
pub struct Running<C: Builtin> {
    executor: tokio::runtime::Runtime,
    runtime: Runtime,
    kernel: KernelRef<C::Kernel>,
}

/// A builder for tests that run on that device.
pub fn builder_for(device: DeviceId) -> RuntimeBuilder {
    crate::builder().with_gpu_enabled(device.kind() == DeviceKind::Cuda)
}

/// An executor for tests that are no futures themselves.
pub fn executor() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an executor starts")
}

impl<C: Builtin> Running<C> {
    /// Starts the kernel on `device`.
    pub fn start(device: DeviceId) -> Self {
        Self::start_within(device, MemoryConfig::default())
    }

    /// Starts the kernel on `device`, within limits of memory.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_within(device: DeviceId, memory: MemoryConfig) -> Self {
        let spec = C::spec().device(DeviceChoice::On(device));
        let name = spec.name().to_owned();
        let runtime = builder_for(device).with_memory(memory).with_kernel(spec);
        let (runtime, executor) = (runtime.build().expect("the kernel makes sense"), executor());
        executor.block_on(runtime.start()).expect("the kernel starts");
        let kernel = runtime.kernel(&name).expect("the kernel was started");
        Self { executor, runtime, kernel }
    }

    /// Calls the kernel, and checks that the response's shapes fit the signature.
    ///
    /// # Errors
    /// What the kernel or the runtime says.
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn call(&self, request: Request<C>) -> Result<Response<C>, CallError<Request<C>>> {
        let fields = [Request::<C>::fields(), Response::<C>::fields()].concat();
        let mut shapes: Vec<Vec<usize>> =
            request.shapes().into_iter().map(<[usize]>::to_vec).collect();
        let response = self.executor.block_on(self.kernel.call(request))?;
        shapes.extend(response.shapes().into_iter().map(<[usize]>::to_vec));
        let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
        check_shapes(&fields, &shapes).expect("the response fits the signature");
        Ok(response)
    }

    /// Calls the kernel by its name.
    ///
    /// # Errors
    /// What the kernel or the runtime says.
    #[allow(clippy::result_large_err, reason = "the error hands the request back")]
    pub fn call_by_name(&self, fields: Fields) -> Result<Fields, CallError<Fields>> {
        let call = self.runtime.call_by_name(self.kernel.name(), fields);
        self.executor.block_on(call.expect("the kernel is published"))
    }

    /// The runtime.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// A reading of the kernel.
    pub fn stats(&self) -> KernelStats {
        self.kernel.stats()
    }

    /// Shuts the runtime down.
    ///
    /// # Panics
    /// If an instance was restarted, or memory did not come back.
    pub fn stop(self) {
        assert_eq!(self.stats().restarts, 0, "no instance was restarted");
        let report = self.executor.block_on(self.runtime.shutdown()).expect("a report");
        assert!(report.is_clean(), "{report:?}");
    }
}
