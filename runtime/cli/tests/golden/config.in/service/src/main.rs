//! A kernel of one's own under the runtime that `rustkernel.toml` describes.

use rustkernel_core::config::Loader;
use rustkernel_core::prelude::*;

/// Doubles each number.
struct Double;

impl Kernel for Double {
    type Request = Tensor<f32>;
    type Response = Tensor<f32>;

    async fn execute(
        &mut self,
        mut numbers: Tensor<f32>,
        _: &mut KernelContext,
    ) -> KernelResult<Tensor<f32>> {
        numbers.as_mut_slice().iter_mut().for_each(|number| *number *= 2.0);
        Ok(numbers)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The file, and over it what the environment says.
    let mut loader = Loader::new().environment();
    if std::path::Path::new("rustkernel.toml").exists() {
        loader = loader.file("rustkernel.toml");
    }
    let config = loader.load()?.config;
    let runtime =
        config.runtime_builder().with_kernel(KernelSpec::new("double", || Double)).build()?;

    runtime.start().await?;
    let double = runtime.kernel::<Double>("double")?;
    let doubled = double.call(vec![1.0, 2.0, 3.0].into()).await?;
    println!("{:?}", doubled.as_slice());
    runtime.shutdown().await?;
    Ok(())
}
