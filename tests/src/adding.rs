//! A kernel that computes on a device, for tests of what goes wrong there.

use rustkernel_core::kernel::Devices;
use rustkernel_core::prelude::*;
use rustkernel_gpu::Function;

use crate::rig::conformance_module;
use crate::tireless;

/// Adds a number to each element, on the device; panics on request.
#[derive(Debug, Default)]
pub struct Add {
    saxpy: Option<Function>,
}

/// Numbers, each of which is added to itself.
#[derive(Debug, Clone)]
pub struct AddRequest {
    /// The numbers.
    pub numbers: Vec<f32>,
    /// Whether to panic half-way.
    pub panic: bool,
}

impl Kernel for Add {
    type Request = AddRequest;
    type Response = Vec<f32>;

    const DEVICES: Devices = Devices::Any;

    async fn open(&mut self, cx: &mut KernelContext) -> KernelResult {
        self.saxpy = Some(cx.load(&conformance_module())?.function("saxpy")?);
        Ok(())
    }

    async fn execute(
        &mut self,
        request: AddRequest,
        cx: &mut KernelContext,
    ) -> KernelResult<Vec<f32>> {
        let x = cx.upload(&request.numbers).await?;
        let mut y = cx.upload(&request.numbers).await?;
        assert!(!request.panic, "as asked, with memory held and work in flight");
        let n = request.numbers.len() as u32;
        let config = LaunchConfig::linear(x.len(), 128, 64);
        let saxpy = self.saxpy.as_ref().expect("it is open");
        cx.stream().launch(saxpy, config, arguments![1.0f32, &x, &mut y, n])?;
        cx.download(&y).await
    }
}

/// The kernel, restarted as often as it takes.
pub fn add(device: DeviceChoice) -> KernelSpec<Add> {
    KernelSpec::new(format!("add {device:?}"), Add::default)
        .device(device)
        .restart(tireless())
        .memory(|request: &AddRequest| 2 * size_of_val(request.numbers.as_slice()) as u64)
}

/// A request of the numbers from 0 on.
pub fn numbers(len: usize) -> AddRequest {
    AddRequest { numbers: (0..len).map(|n| n as f32).collect(), panic: false }
}
