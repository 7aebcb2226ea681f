//! The memory of devices and of the host, as the driver sees it.
//!
//! | part | role |
//! |---|---|
//! | `storage` | bytes of the host that stand behind device memory |
//! | `budget` | a device's capacity, and what of it is taken |
//! | `space` | the addresses of one context: what is live, reserved, mapped |
//! | `physical` | memory without an address, for virtual memory management |
//! | `host` | pinned, registered and managed memory, which all devices see |
//! | `pool` | stream-ordered allocation |
//! | `transfer` | copies and fills |
//!
//! Device addresses are no addresses of the host: a program that follows one crashes, as it would
//! with a real device. No address is used twice, so an access through a stale one is a fault.

pub(crate) mod budget;
pub(crate) mod host;
pub(crate) mod physical;
pub(crate) mod pool;
pub(crate) mod space;
mod storage;
pub(crate) mod transfer;

use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use storage::Storage;

/// Changes whenever memory is freed or unmapped, on any device: who remembers where an address led
/// must look again.
static GENERATION: AtomicU64 = AtomicU64::new(0);

pub(crate) fn generation() -> u64 {
    GENERATION.load(Ordering::Acquire)
}

fn something_is_gone() {
    GENERATION.fetch_add(1, Ordering::AcqRel);
}

/// The size and alignment of physical memory, and of what it is mapped to.
pub(crate) const PAGE: u64 = 2 << 20;

/// The addresses of device `ordinal` begin here. A 57-bit address space has room for 1024 devices
/// of 64 TiB each, above every address of the host.
pub(crate) fn first_address(ordinal: usize) -> u64 {
    (1 << 56) + ((ordinal as u64) << DEVICE_BITS)
}

/// The device whose address that is.
pub(crate) fn device_of(address: u64) -> Option<usize> {
    let offset = address.checked_sub(1 << 56).filter(|offset| *offset < 1 << 56)?;
    Some((offset >> DEVICE_BITS) as usize)
}

const DEVICE_BITS: u32 = 46;
/// The addresses that a device has.
pub(crate) const DEVICE_SPAN: u64 = 1 << DEVICE_BITS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_tell_their_device() {
        for ordinal in [0, 1, 63, 1023] {
            let first = first_address(ordinal);
            assert_eq!(device_of(first), Some(ordinal));
            assert_eq!(device_of(first + DEVICE_SPAN - 1), Some(ordinal));
        }
        assert_eq!(device_of(0x7fff_ffff_f000), None);
        assert_eq!(device_of(1 << 57), None);
    }
}
