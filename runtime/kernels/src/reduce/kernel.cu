// Sum, mean, minimum and maximum, each in two launches.
//
// Sum and mean, added up in double:
// 1. reduce_sum_partial(const float* input, double* partials, u32 n)
//      partials[b] = the part of the sum that block b takes.
//      grid: any G >= 1 (1,024 blocks are enough for any n); block: 256; shared: none.
// 2. reduce_sum_final(const double* partials, float* output, u32 count, double divisor)
//      output[0] = the sum of partials[0..count] / divisor; count = G; divisor is 1 for the sum
//      and n for the mean.
//      grid: 1; block: 256; shared: none.
//    Scratch: partials, 8 * G bytes.
//
// Minimum and maximum; NaN if any element is NaN:
//    reduce_min(const float* input, float* output, u32 n)
//    reduce_max(const float* input, float* output, u32 n)
//      output[b] = the extreme of the elements that block b takes (+-infinity if it takes none).
//      grid: any G >= 1; block: 256; shared: none.
// 1. on the input with G blocks into partials; 2. on partials (n = G) with one block.
//    Scratch: partials, 4 * G bytes.
//
// Indices are 64-bit: any n >= 1.
#include "common.cuh"

KERNEL reduce_sum_partial(const float* __restrict__ input, double* __restrict__ partials, u32 n) {
    double sum = 0.0;
    for (u64 i = grid_thread(); i < n; i += grid_threads()) sum += (double)input[i];
    sum = block_reduce(sum, Add());
    if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

KERNEL reduce_sum_final(const double* __restrict__ partials, float* __restrict__ output, u32 count,
                        double divisor) {
    double sum = block_sum_of(partials, count);
    if (threadIdx.x == 0) output[0] = (float)(sum / divisor);
}

template <class Op>
__device__ void extreme(const float* input, float* output, u32 n, float identity, Op op) {
    float value = identity;
    for (u64 i = grid_thread(); i < n; i += grid_threads()) value = op(value, input[i]);
    value = block_reduce(value, op);
    if (threadIdx.x == 0) output[blockIdx.x] = value;
}

KERNEL reduce_min(const float* __restrict__ input, float* __restrict__ output, u32 n) {
    extreme(input, output, n, infinite(), Minimum());
}

KERNEL reduce_max(const float* __restrict__ input, float* __restrict__ output, u32 n) {
    extreme(input, output, n, -infinite(), Maximum());
}
