//! The values that one lane loads or stores at once.

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// An integer of the size of a memory access.
pub(super) trait Cell: Copy + Default {
    const BYTES: u64 = size_of::<Self>() as u64;

    fn widened(self) -> u64;
    fn narrowed(value: u64) -> Self;

    /// # Safety
    /// `from` must be aligned, and valid for a read; nothing may write there at the same time but a
    /// racing program.
    unsafe fn read(from: *const u8) -> Self;

    /// # Safety
    /// `to` must be aligned, and valid for a write; nothing may use it at the same time but a racing
    /// program.
    unsafe fn write(self, to: *mut u8);

    /// As `read`, but atomic: others may write at the same time.
    ///
    /// # Safety
    /// `from` must be aligned, and valid for reads and writes.
    unsafe fn read_atomic(from: *mut u8) -> Self;

    /// As `write`, but atomic.
    ///
    /// # Safety
    /// `to` must be aligned, and valid for reads and writes.
    unsafe fn write_atomic(self, to: *mut u8);

    /// From little-endian bytes, as many as it has.
    fn from_bytes(bytes: &[u8]) -> Self;
    fn to_bytes(self, bytes: &mut [u8]);
}

macro_rules! cell {
    ($($ty:ident, $atomic:ident;)*) => { $(
        impl Cell for $ty {
            #[inline(always)]
            fn widened(self) -> u64 {
                self.into()
            }
            #[inline(always)]
            fn narrowed(value: u64) -> Self {
                value as Self
            }
            #[inline(always)]
            unsafe fn read(from: *const u8) -> Self {
                // SAFETY: by the caller.
                unsafe { from.cast::<Self>().read() }
            }
            #[inline(always)]
            unsafe fn write(self, to: *mut u8) {
                // SAFETY: by the caller.
                unsafe { to.cast::<Self>().write(self) }
            }
            #[inline(always)]
            unsafe fn read_atomic(from: *mut u8) -> Self {
                // SAFETY: by the caller.
                unsafe { $atomic::from_ptr(from.cast()) }.load(Ordering::SeqCst)
            }
            #[inline(always)]
            unsafe fn write_atomic(self, to: *mut u8) {
                // SAFETY: by the caller.
                unsafe { $atomic::from_ptr(to.cast()) }.store(self, Ordering::SeqCst)
            }
            #[inline(always)]
            fn from_bytes(bytes: &[u8]) -> Self {
                let mut own = [0; size_of::<Self>()];
                own.copy_from_slice(bytes);
                Self::from_le_bytes(own)
            }
            #[inline(always)]
            fn to_bytes(self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_le_bytes());
            }
        }
    )* };
}

cell! {
    u8, AtomicU8;
    u16, AtomicU16;
    u32, AtomicU32;
    u64, AtomicU64;
}
