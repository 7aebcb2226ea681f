//! A kernel of one's own: one body for the host and for CUDA devices, typed and callable by name.
//!
//! ```text
//! cargo run --release -p rustkernel-examples --example 03_custom_kernel
//! ```
//!
//! What to see: on which device it ran, its signature, the same answer from a typed call and from a
//! call by name, and a request that does not fit refused with the reason.

use std::error::Error;
use std::time::Duration;

use rustkernel_core::gpu::Function;
use rustkernel_core::message::Fields;
use rustkernel_core::prelude::*;

/// `y = a x + y`, as the device sees it: PTX for CUDA, a Rust function of the same name for the host.
fn module() -> ModuleSource {
    ModuleSource::new().ptx(include_str!("data/axpy.ptx")).host("axpy", |arguments| {
        let (a, x, y) =
            (arguments.scalar::<f32>(0)?, arguments.read::<f32>(1)?, arguments.write::<f32>(2)?);
        x.iter().zip(y).for_each(|(x, y)| *y += a * x);
        Ok(())
    })
}

/// The kernel's state: made at the start and at each restart.
#[derive(Default)]
struct Axpy {
    axpy: Option<Function>,
}

/// What it takes. The names are those by which it can be called from anywhere.
#[derive(Clone, KernelMessage)]
struct AxpyRequest {
    /// The factor of `x`.
    #[kernel(default = 1.0)]
    a: f32,
    /// The vector to scale.
    #[kernel(shape = "n")]
    x: Tensor<f32>,
    /// The vector to add.
    #[kernel(shape = "n")]
    y: Tensor<f32>,
}

impl Kernel for Axpy {
    type Request = AxpyRequest;
    type Response = Tensor<f32>;

    const DEVICES: Devices = Devices::Any;

    async fn open(&mut self, cx: &mut KernelContext) -> KernelResult {
        self.axpy = Some(cx.load(&module())?.function("axpy")?);
        Ok(())
    }

    async fn execute(
        &mut self,
        request: AxpyRequest,
        cx: &mut KernelContext,
    ) -> KernelResult<Tensor<f32>> {
        let axpy = self.axpy.as_ref().ok_or_else(|| KernelError::failed("not open"))?;
        let n = u32::try_from(request.x.len()).map_err(KernelError::failed)?;
        if n == 0 {
            return Ok(request.y);
        }
        let x = cx.upload(request.x.as_slice()).await?;
        let mut y = cx.upload(request.y.as_slice()).await?;
        let config = LaunchConfig::linear(x.len(), 256, u32::MAX);
        cx.stream().launch(axpy, config, arguments![request.a, &x, &mut y, n])?;
        Ok(cx.download(&y).await?.into())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let spec = KernelSpec::new("axpy", Axpy::default)
        .describe("a x + y, element by element.")
        .instances(2)
        .memory(|request: &AxpyRequest| request.x.bytes() + request.y.bytes()) // reserved before it starts
        .deadline(Duration::from_secs(5))
        .publish();
    let runtime = RuntimeBuilder::new().with_kernel(spec).build()?;
    runtime.start().await?;
    let axpy = runtime.kernel::<Axpy>("axpy")?;
    println!("it runs on {:?}", axpy.stats().devices);
    for field in &runtime.signatures()[0].request {
        println!("  {:<2} {field}: {}", field.name, field.description);
    }

    let request = AxpyRequest { a: 2.0, x: vec![1.0, 2.0, 3.0].into(), y: vec![10.0; 3].into() };
    println!("typed:   {:?}", axpy.call(request.clone()).await?);

    let fields = Fields::new()
        .with_parameter("a", 2.0f32)
        .with_tensor("x", request.x.clone())
        .with_tensor("y", request.y);
    let answer = runtime.call_by_name("axpy", fields)?.await?;
    println!("by name: {:?}", answer.tensors["output"]);

    let wrong = AxpyRequest { a: 1.0, x: request.x, y: vec![0.0; 4].into() };
    println!("refused: {}", axpy.call(wrong).await.unwrap_err());
    runtime.shutdown().await?;
    Ok(())
}
