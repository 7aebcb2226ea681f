//! RustKernel runs compute kernels, CPU code and CUDA kernels, as supervised actors.
//!
//! A kernel is a small Rust type. The runtime gives it a place to run (a device, a stream, a thread),
//! memory that cannot run out half-way through a request, a supervisor that restarts it when it
//! panics, a bounded queue, deadlines, and a drain that answers every request. One binary starts
//! anywhere: with a GPU it uses it, without one it runs on the CPU.
//!
//! ```
//! use rustkernel_core::prelude::*;
//!
//! struct Double;
//!
//! impl Kernel for Double {
//!     type Request = Tensor<f32>;
//!     type Response = Tensor<f32>;
//!
//!     async fn execute(&mut self, mut x: Tensor<f32>, _: &mut KernelContext) -> KernelResult<Tensor<f32>> {
//!         x.as_mut_slice().iter_mut().for_each(|x| *x *= 2.0);
//!         Ok(x)
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let runtime = RuntimeBuilder::new().with_kernel(KernelSpec::new("double", || Double)).build()?;
//!     runtime.start().await?;
//!     let double = runtime.kernel::<Double>("double")?;
//!     assert_eq!(double.call(vec![1.0, 2.0].into()).await?.as_slice(), [2.0, 4.0]);
//!     runtime.shutdown().await?;
//!     Ok(())
//! }
//! ```
//!
//! | module | what is in it |
//! |---|---|
//! | [`prelude`] | what a kernel and its application need |
//! | [`runtime`] | [`RuntimeBuilder`](runtime::RuntimeBuilder), [`Runtime`](runtime::Runtime), the lifecycle |
//! | [`kernel`] | writing and calling kernels |
//! | [`memory`] | memory limits, pressure, [`KernelMemoryManager`](memory::KernelMemoryManager) |
//! | [`config`] | the unified configuration: files, variables, presets |
//! | [`message`] | requests and responses as named tensors and parameters |
//! | [`observability`] | the log |
//! | [`gpu`] | devices, streams, events, modules |
#![forbid(unsafe_code)]

pub mod config;
pub mod kernel;
pub mod memory;
pub mod observability;
pub mod prelude;
pub mod runtime;

pub use rustkernel_actors::message;
pub use rustkernel_gpu as gpu;

/// What `#[derive(KernelMessage)]` refers to. Not for direct use.
#[doc(hidden)]
pub mod __private {
    pub use rustkernel_actors::AnyElement;
    pub use rustkernel_actors::Tensor;
    pub use rustkernel_actors::message::{
        FieldSpec, Fields, KernelMessage, MessageError, Parameter, ParameterValue, Reader,
    };
    pub use rustkernel_gpu::Element;
}
