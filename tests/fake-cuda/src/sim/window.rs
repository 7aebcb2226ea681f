//! Generic addresses: the windows through which shared, local and parameter memory are seen among
//! the addresses of global memory; and the addresses of functions.

use super::program::Space;

const SHARED: u64 = 0x00f0_0000_0000_0000;
const LOCAL: u64 = 0x00f1_0000_0000_0000;
const PARAMETER: u64 = 0x00f2_0000_0000_0000;
const FUNCTIONS: u64 = 0x00f3_0000_0000_0000;
const BYTES: u64 = 1 << 32;

/// Where the window of a space begins; global memory is seen at its own addresses.
pub(crate) fn start(space: Space) -> u64 {
    match space {
        Space::Shared => SHARED,
        Space::Local | Space::Frame => LOCAL,
        Space::Parameter => PARAMETER,
        Space::Global | Space::Generic => 0,
    }
}

/// The space that a generic address is in, and the address there.
#[inline(always)]
pub(super) fn resolve(address: u64) -> (Space, u64) {
    if address >> 50 != SHARED >> 50 {
        return (Space::Global, address);
    }
    let offset = address & (BYTES - 1);
    match address - offset {
        SHARED => (Space::Shared, offset),
        LOCAL => (Space::Local, offset),
        PARAMETER => (Space::Parameter, offset),
        _ => (Space::Global, address),
    }
}

/// The address that stands for function `number` of a module.
pub(crate) fn function_address(number: usize) -> u64 {
    FUNCTIONS + 16 * number as u64
}

/// The function that `address` stands for, of so many.
pub(super) fn function(address: u64, count: usize) -> Option<usize> {
    let offset = address.checked_sub(FUNCTIONS).filter(|offset| offset % 16 == 0)?;
    usize::try_from(offset / 16).ok().filter(|number| *number < count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_resolve_to_their_window() {
        for space in [Space::Shared, Space::Local, Space::Parameter] {
            assert_eq!(resolve(start(space) + 0x123), (space, 0x123));
        }
        for address in [0, 0x7fff_0000_1000, 1 << 56, FUNCTIONS, SHARED + BYTES] {
            assert_eq!(resolve(address), (Space::Global, address));
        }
    }

    #[test]
    fn functions_have_addresses() {
        assert_eq!(function(function_address(3), 4), Some(3));
        assert_eq!(function(function_address(4), 4), None);
        assert_eq!(function(function_address(0) + 8, 4), None);
        assert_eq!(function(0, 4), None);
    }
}
