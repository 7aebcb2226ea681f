// The dot product in two launches. Products of two floats are exact in double.
//
// 1. dot_partial(const float* x, const float* y, double* partials, u32 n)
//      partials[b] = the part of the sum that block b takes.
//      grid: any G >= 1 (1,024 blocks are enough for any n); block: 256; shared: none.
// 2. dot_final(const double* partials, float* output, u32 count)
//      output[0] = the sum of partials[0..count], count = G.
//      grid: 1; block: 256; shared: none.
//
// Scratch: partials, 8 * G bytes. Indices are 64-bit: any n; n = 0 gives 0.
#include "common.cuh"

KERNEL dot_partial(const float* __restrict__ x, const float* __restrict__ y,
                   double* __restrict__ partials, u32 n) {
    double sum = 0.0;
    for (u64 i = grid_thread(); i < n; i += grid_threads()) sum += (double)x[i] * (double)y[i];
    sum = block_reduce(sum, Add());
    if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

KERNEL dot_final(const double* __restrict__ partials, float* __restrict__ output, u32 count) {
    double sum = block_sum_of(partials, count);
    if (threadIdx.x == 0) output[0] = (float)sum;
}
