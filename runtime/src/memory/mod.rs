//! Memory limits, pressure, and memory outside of kernels.
//!
//! Kernels get their memory from their [context](crate::kernel::KernelContext). This module has what
//! an application sets ([`MemoryConfig`]) and what it may use itself ([`KernelMemoryManager`]).

mod config;
mod manager;

pub use config::{InvalidMemoryConfig, MemoryConfig};
pub use manager::{KernelMemoryManager, ManagerStats, MemoryBuffer, MemoryError};
pub use rustkernel_actors::{AllocatorStats, SpillRequest};
pub use rustkernel_gpu::memory::{
    ClassStats, MemoryKind, MemoryStats, ParsePressureLevelError, PressureLevel, PressureThresholds,
};
