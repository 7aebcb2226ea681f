//! A photograph through three kernels: blurred, its edges found, their strengths counted.
//!
//! ```text
//! cargo run --release -p rustkernel-examples --example 06_image_pipeline
//! ```
//!
//! What to see: `before.png`, `blurred.png` and `edges.png` in `target/image_pipeline`, on which device
//! each kernel ran, and how much of the picture is edge.

use std::error::Error;
use std::path::Path;

use image::{DynamicImage, GrayImage, RgbImage};
use rustkernel_core::prelude::*;
use rustkernel_kernels::gaussian_blur::{self, GaussianBlur, GaussianBlurRequest};
use rustkernel_kernels::histogram::{self, Histogram, HistogramRequest};
use rustkernel_kernels::sobel::{self, Sobel, SobelRequest};

fn load(path: &Path) -> Result<Tensor<u8>, Box<dyn Error>> {
    let picture = image::open(path)?.to_rgb8();
    let (width, height) = picture.dimensions();
    Ok(Tensor::new([height as usize, width as usize, 3], picture.into_raw())?)
}

fn save(picture: &Tensor<u8>, path: &Path) -> Result<(), Box<dyn Error>> {
    let &[height, width, channels] = picture.shape() else { return Err("not a picture".into()) };
    let (width, height, pixels) =
        (u32::try_from(width)?, u32::try_from(height)?, picture.as_slice().to_vec());
    let image = match channels {
        1 => GrayImage::from_raw(width, height, pixels).map(DynamicImage::from),
        _ => RgbImage::from_raw(width, height, pixels).map(DynamicImage::from),
    };
    image.ok_or("the pixels do not fill the picture")?.save(path)?;
    println!("{}: {width} × {height}", path.display());
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new("target/image_pipeline");
    std::fs::create_dir_all(folder)?;
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let before = load(&here.join("data/chelsea.png"))?;
    save(&before, &folder.join("before.png"))?;

    let runtime = RuntimeBuilder::new()
        .with_kernel(gaussian_blur::spec())
        .with_kernel(sobel::spec())
        .with_kernel(histogram::spec())
        .build()?;
    runtime.start().await?;
    let blur = runtime.kernel::<GaussianBlur>("gaussian_blur")?;
    let edges = runtime.kernel::<Sobel>("sobel")?;
    let counts = runtime.kernel::<Histogram>("histogram")?;

    let blurred = blur.call(GaussianBlurRequest { image: before, sigma: 2.0 }).await?.output;
    save(&blurred, &folder.join("blurred.png"))?;

    let edges = edges.call(SobelRequest { image: blurred }).await?.output;
    save(&edges, &folder.join("edges.png"))?;

    let strengths: Vec<f32> =
        edges.as_slice().iter().map(|strength| f32::from(*strength)).collect();
    let request = HistogramRequest { input: strengths.into(), bins: 8, low: 0.0, high: 256.0 };
    let counts = counts.call(request).await?.counts;
    println!("\nstrength of edges");
    for (bin, count) in counts.as_slice().iter().enumerate() {
        let share = 100.0 * *count as f64 / edges.len() as f64;
        println!(
            "{:>3} to {:>3}  {share:>5.1} %  {}",
            32 * bin,
            32 * bin + 31,
            "█".repeat(share as usize / 2)
        );
    }

    for kernel in runtime.stats().kernels {
        println!("{} ran on {}", kernel.name, kernel.devices[0]);
    }
    runtime.shutdown().await?;
    Ok(())
}
