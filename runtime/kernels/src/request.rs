//! What the kernels share between a request and their implementations: extents, refusals, and what
//! they declare.
//!
//! Kernels are made by their `spec()` only, which publishes them: a request that reaches one has the
//! shapes that its signature says.

use std::fmt::Display;

use rustkernel_core::gpu::Element;
use rustkernel_core::kernel::Need;
use rustkernel_core::prelude::*;

use crate::error::elements;
use crate::parallel;

/// [`KernelContext::compute`] of a host function, which ends early once the request is given up.
pub(crate) async fn compute<R: Send + 'static>(
    cx: &mut KernelContext,
    function: impl FnOnce() -> R + Send + 'static,
) -> KernelResult<R> {
    let token = cx.cancel_token();
    cx.compute(move || parallel::until(move || token.is_cancelled(), function)).await
}

/// A refusal, in the implementation's own words.
pub(crate) fn invalid(error: impl Display) -> KernelError {
    KernelError::InvalidRequest(error.to_string())
}

/// The extents of a tensor whose number of dimensions the signature says.
pub(crate) fn extents<const N: usize>(tensor: &Tensor<impl Element>) -> [usize; N] {
    tensor.shape().try_into().expect("invariant: a published kernel's requests fit its signature")
}

/// A size as the entries take it, which is at most `most`.
pub(crate) fn at_most(most: u32, what: &str, size: usize) -> KernelResult<u32> {
    u32::try_from(size).ok().filter(|size| *size <= most).ok_or_else(|| {
        invalid(format!("the {what} is {size}; on a CUDA device it is at most {most}"))
    })
}

/// A number of elements as the entries take it.
pub(crate) fn count(elements: usize) -> KernelResult<u32> {
    at_most(u32::MAX, "number of elements", elements)
}

/// The size of `len` elements, in bytes.
pub(crate) fn bytes_of<T: Element>(len: usize) -> u64 {
    elements(&[len, size_of::<T>()]) as u64
}

/// Device memory for those leases at once, in bytes.
pub(crate) fn leases<const N: usize>(bytes: [u64; N]) -> Need {
    Need::device(bytes.into_iter().fold(0, u64::saturating_add))
}
