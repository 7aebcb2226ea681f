// saxpy(float a, const float* x, const float* y, float* output, u32 n)
//   output[i] = a * x[i] + y[i] for i < n, rounded after the product and after the sum, as on a
//   processor without fused multiply-add: host and device give the same bits.
//   grid: any (one block per 256 elements fills the device); block: 256; shared: none.
//   Indices are 64-bit: any n.
#include "common.cuh"

KERNEL saxpy(float a, const float* __restrict__ x, const float* __restrict__ y,
             float* __restrict__ output, u32 n) {
    for (u64 i = grid_thread(); i < n; i += grid_threads()) {
        output[i] = __fadd_rn(__fmul_rn(a, x[i]), y[i]);
    }
}
