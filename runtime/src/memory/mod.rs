//! Memory limits, pressure, and memory outside of kernels.
//!
//! Kernels get their memory from their [context](crate::kernel::KernelContext). This module has what
//! an application sets ([`MemoryConfig`]), what it may use itself ([`KernelMemoryManager`]), and how all
//! that happens can be recorded ([`RecordConfig`]).

mod config;
mod manager;
mod recording;

pub use config::{InvalidMemoryConfig, MemoryConfig};
pub use manager::{KernelMemoryManager, ManagerStats, MemoryBuffer, MemoryError};
pub(crate) use recording::{About, Writers};
pub use recording::{RecordConfig, RecordError, RecordFormat, Recorded, Recording};
pub use rustkernel_actors::{AllocatorStats, SpillRequest};
pub use rustkernel_gpu::memory::{
    ClassStats, MapRange, MemoryKind, MemoryMap, MemoryStats, ParsePressureLevelError,
    PressureLevel, PressureThresholds, RangeState,
};
