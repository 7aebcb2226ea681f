//! Inputs without values: what they give is the same on every device.

use rustkernel_core::kernel::Tensor;
use rustkernel_gpu::DeviceId;
use rustkernel_kernels::conv2d::Conv2dRequest;
use rustkernel_tests::reference::conv2d::Conv2d;
use rustkernel_tests::running::Running;

/// Images without rows are padding alone, whose products with the weights count: infinity times 0
/// is no number.
pub(crate) fn have_padding(device: DeviceId) {
    let running = Running::<Conv2d>::start(device);
    for (weight, nan) in [(2.0, false), (f32::INFINITY, true)] {
        let request = Conv2dRequest {
            input: Tensor::zeros([2, 1, 0, 2]),
            weight: Tensor::new([1, 1, 1, 1], vec![weight]).expect("one value"),
            stride: 1,
            padding: 1,
        };
        let response = running.call(request).expect("the kernel answers");
        assert_eq!(response.output.shape(), [2, 1, 2, 4]);
        let values = response.output.as_slice();
        assert!(
            values.iter().all(|x| x.is_nan() == nan && (nan || x.to_bits() == 0)),
            "{weight}: {values:?}"
        );
    }
    running.stop();
}
