//! The extents of a convolution, and what makes them invalid.

use thiserror::Error;

use crate::error::{LengthError, elements};

/// The extents of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Images.
    pub batch: usize,
    /// Channels of the input.
    pub c_in: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Channels of the output.
    pub c_out: usize,
    /// Rows of the kernel.
    pub kernel_height: usize,
    /// Columns of the kernel.
    pub kernel_width: usize,
    /// Input rows and columns from one output pixel to the next.
    pub stride: usize,
    /// Rows and columns of zeros on every side of the input.
    pub padding: usize,
}

/// Extents that have no convolution, or slices that do not have these extents.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Conv2dError {
    /// The stride is 0.
    #[error("the stride is at least 1")]
    Stride,
    /// A side of the kernel is 0.
    #[error("a kernel of {height} x {width} covers nothing")]
    EmptyKernel {
        /// Rows of the kernel.
        height: usize,
        /// Columns of the kernel.
        width: usize,
    },
    /// The kernel does not fit into the padded input.
    #[error("a kernel of {kernel} {axis} does not fit into an input of {padded}, padding included")]
    KernelTooLarge {
        /// `"rows"` or `"columns"`.
        axis: &'static str,
        /// The kernel's extent along it.
        kernel: usize,
        /// The input's extent along it, padding included.
        padded: usize,
    },
    /// A slice's length does not match.
    #[error(transparent)]
    Length(#[from] LengthError),
}

impl Shape {
    /// Rows and columns of the output.
    ///
    /// # Errors
    /// If the stride or the kernel is 0, or the kernel is larger than the padded input.
    pub fn output(&self) -> Result<(usize, usize), Conv2dError> {
        if self.stride == 0 {
            return Err(Conv2dError::Stride);
        }
        if self.kernel_height == 0 || self.kernel_width == 0 {
            let (height, width) = (self.kernel_height, self.kernel_width);
            return Err(Conv2dError::EmptyKernel { height, width });
        }
        let along = |axis, extent: usize, kernel: usize| {
            let padded = extent.saturating_add(self.padding.saturating_mul(2));
            match padded.checked_sub(kernel) {
                Some(room) => Ok(room / self.stride + 1),
                None => Err(Conv2dError::KernelTooLarge { axis, kernel, padded }),
            }
        };
        Ok((
            along("rows", self.height, self.kernel_height)?,
            along("columns", self.width, self.kernel_width)?,
        ))
    }

    /// Values of the input.
    #[must_use]
    pub fn input_len(&self) -> usize {
        elements(&[self.batch, self.c_in, self.height, self.width])
    }

    /// Values of the weights.
    #[must_use]
    pub fn weight_len(&self) -> usize {
        elements(&[self.c_out, self.taps()])
    }

    /// Values of the output.
    ///
    /// # Errors
    /// As [`Shape::output`].
    pub fn output_len(&self) -> Result<usize, Conv2dError> {
        let (height, width) = self.output()?;
        Ok(elements(&[self.batch, self.c_out, height, width]))
    }

    /// Products in the sum of one output value.
    pub(super) fn taps(&self) -> usize {
        elements(&[self.c_in, self.kernel_height, self.kernel_width])
    }
}
