//! How fast the interpreter is: a tiled matrix product of NVRTC's, of a size to choose.
//!
//! `cargo run --release -p fake-cuda --example speed -- 1024` prints the time for 1024³ products.
#![allow(unsafe_code, reason = "a launch passes pointers to its arguments")]
#![allow(clippy::print_stdout, reason = "it prints")]

use std::error::Error;
use std::time::Instant;

use cust::launch;
use cust::prelude::*;

const PTX: &str = include_str!("../tests/kernels/blocks.ptx");
const TILE: u32 = 16;

#[allow(clippy::disallowed_methods, reason = "it measures time")]
fn main() -> Result<(), Box<dyn Error>> {
    let size: u32 = std::env::args().nth(1).unwrap_or("1024".into()).parse()?;
    let config = fake_cuda::Config { verbose: true, ..Default::default() };
    fake_cuda::configure(&config);
    rustkernel_driver::install("fake", fake_cuda::lookup);
    let _context = cust::quick_init()?;
    let module = Module::from_ptx(PTX, &[])?;
    let stream = Stream::new(StreamFlags::DEFAULT, None)?;
    let elements = (size * size) as usize;
    let a: Vec<f32> = (0..elements).map(|i| (i % 7) as f32).collect();
    let b: Vec<f32> = (0..elements).map(|i| (i % 5) as f32).collect();
    let (a, b) = (DeviceBuffer::from_slice(&a)?, DeviceBuffer::from_slice(&b)?);
    let c = DeviceBuffer::from_slice(&vec![0f32; elements])?;
    let gemm = module.get_function("gemm_tiled")?;
    let blocks = size.div_ceil(TILE);
    let start = Instant::now();
    // SAFETY: the arguments are those of the kernel.
    unsafe {
        launch!(gemm<<<(blocks, blocks), (TILE, TILE), 0, stream>>>(
            a.as_device_ptr(),
            b.as_device_ptr(),
            c.as_device_ptr(),
            size,
            size,
            size
        ))?;
    }
    stream.synchronize()?;
    let time = start.elapsed();
    let products = f64::from(size).powi(3);
    println!("{size}³ products in {time:.2?}: {:.2e} a second", products / time.as_secs_f64());
    Ok(())
}
