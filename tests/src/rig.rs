//! A device with its memory, for tests below the runtime.

use std::sync::Arc;
use std::time::Duration;

use futures_executor::block_on;
use rustkernel_gpu::host::{HostOptions, ThreadBudget};
use rustkernel_gpu::memory::{
    DeviceMemory, Grown, Lease, Leased, MemoryKind, MemoryLimits, PressureThresholds, Reservation,
};
use rustkernel_gpu::{
    Buffer, Device, DeviceResult, Element, ModuleSource, Staging, Stream, StreamOptions,
};

const MIB: u64 = 1 << 20;
/// How long a lease waits before it asks again.
const PATIENCE: Duration = Duration::from_micros(100);

/// A lease for a stream, grown for if need be. The test is the allocator.
///
/// # Errors
/// As the memory.
#[allow(clippy::disallowed_methods, reason = "a test without actors waits for a real device")]
pub fn lease(
    memory: &DeviceMemory,
    kind: MemoryKind,
    bytes: usize,
    stream: &Stream,
    reservation: Option<&Reservation>,
) -> DeviceResult<Lease> {
    let mut growth = match memory.lease(kind, bytes, Some(stream), reservation)? {
        Leased::Ready(lease) => return Ok(lease),
        Leased::NeedsGrowth(growth) => growth,
    };
    loop {
        match growth.run()? {
            Grown::Ready(lease) => return Ok(lease),
            Grown::Short(growth) => return Err(growth.give_up()),
            Grown::Wait(again, _) => growth = again,
        }
        std::thread::sleep(PATIENCE);
    }
}

/// A device with its memory. The test is its allocator.
#[derive(Debug)]
pub struct Rig {
    /// The device.
    pub device: Device,
    /// Its memory: 32 MiB of its own, 16 MiB of staging.
    pub memory: Arc<DeviceMemory>,
}

impl Rig {
    /// Over any device.
    pub fn new(device: Device) -> Self {
        Self::within(device, [32 * MIB, 16 * MIB], true)
    }

    /// With so much memory that also a CUDA device has it in pages: 200 MiB of its own, 128 MiB of staging.
    pub fn paged(device: Device) -> Self {
        Self::within(device, [200 * MIB, 128 * MIB], true)
    }

    /// The same, with pages that stay where they are.
    pub fn fixed(device: Device) -> Self {
        Self::within(device, [200 * MIB, 128 * MIB], false)
    }

    fn within(device: Device, [device_bytes, staging_bytes]: [u64; 2], defrag: bool) -> Self {
        let limits = MemoryLimits {
            device_bytes,
            staging_bytes,
            pooling: true,
            defrag,
            thresholds: PressureThresholds::default(),
        };
        Self { memory: DeviceMemory::new(device.clone(), &limits), device }
    }

    /// Over the host.
    pub fn host() -> Self {
        Self::new(rustkernel_gpu::host::open(HostOptions {
            name: "test".into(),
            memory_bytes: 64 * MIB,
            staging_bytes: 64 * MIB,
            threads: ThreadBudget::new(8),
        }))
    }

    /// A stream that does not run on the submitting thread.
    ///
    /// # Errors
    /// As the device.
    pub fn stream(&self) -> DeviceResult<Stream> {
        self.memory.open_stream(&StreamOptions::default())
    }

    /// A lease, grown for if need be.
    ///
    /// # Errors
    /// As the memory.
    pub fn lease(&self, kind: MemoryKind, bytes: usize, stream: &Stream) -> DeviceResult<Lease> {
        lease(&self.memory, kind, bytes, stream, None)
    }

    /// Device memory with undefined contents.
    ///
    /// # Errors
    /// As the memory.
    pub fn buffer<T: Element>(&self, len: usize, stream: &Stream) -> DeviceResult<Buffer<T>> {
        Buffer::new(self.lease(MemoryKind::Device, len * size_of::<T>(), stream)?, len)
    }

    /// Staging memory.
    ///
    /// # Errors
    /// As the memory.
    pub fn staging<T: Element>(&self, len: usize, stream: &Stream) -> DeviceResult<Staging<T>> {
        Staging::new(self.lease(MemoryKind::Staging, len * size_of::<T>(), stream)?, len)
    }

    /// Device memory with a copy of `data`.
    ///
    /// # Errors
    /// As the memory and the stream.
    pub fn upload<T: Element>(&self, data: &[T], stream: &mut Stream) -> DeviceResult<Buffer<T>> {
        let mut buffer = self.buffer(data.len(), stream)?;
        let mut staging = self.staging(data.len(), stream)?;
        staging.copy_from_slice(data);
        stream.upload(staging, &mut buffer, 0)?;
        Ok(buffer)
    }

    /// What is in device memory once the stream has come to it.
    ///
    /// # Errors
    /// As the memory and the stream.
    pub fn download<T: Element>(
        &self,
        buffer: &Buffer<T>,
        stream: &mut Stream,
    ) -> DeviceResult<Vec<T>> {
        let staging = self.staging(buffer.len(), stream)?;
        let download = stream.download(buffer, 0..buffer.len(), staging)?;
        Ok(block_on(download)?.to_vec())
    }
}

/// The kernels of `conformance.ptx`, with the same on the host.
pub fn conformance_module() -> ModuleSource {
    ModuleSource::new()
        .ptx(include_str!("conformance.ptx"))
        .host("saxpy", |arguments| {
            let (a, n) = (arguments.scalar::<f32>(0)?, arguments.scalar::<u32>(3)? as usize);
            let (x, y) = (arguments.read::<f32>(1)?, arguments.write::<f32>(2)?);
            x[..n].iter().zip(&mut y[..n]).for_each(|(x, y)| *y += a * x);
            Ok(())
        })
        .host("spin", |arguments| {
            // About as long as the PTX one takes: a few milliseconds a million rounds.
            let (rounds, out) = (arguments.scalar::<u32>(0)?, arguments.write::<u32>(1)?);
            let spun = (0..rounds)
                .fold(1u32, |x, round| std::hint::black_box(x.wrapping_mul(1_664_525) + round % 2));
            out[0] = spun | 1;
            Ok(())
        })
}
