// softmax_warp(const float* input, float* output, u32 rows, u32 columns)
//   One warp per row: for rows of up to about 1,024 columns (right for any).
//   grid: any (ceil(rows / 8) blocks fill the device); block: 256; shared: none.
// softmax_block(const float* input, float* output, u32 rows, u32 columns)
//   One block per row: for longer rows (right for any).
//   grid: any (rows blocks fill the device); block: 256; shared: none.
//
// output[r, j] = exp(input[r, j] - max of row r) / (sum of those over row r). The sum is in double.
// A row with NaN or +infinity, or of -infinity only, becomes NaN, as in the formula. Each row is
// read three times; the second and third time it usually comes from a cache.
#include "common.cuh"

// Softmax of one row by threads that are `first`, + `step`, ... and that `reduce` combines.
template <class Reduce>
__device__ void row_softmax(const float* input, float* output, u32 columns, u32 first, u32 step,
                            Reduce reduce) {
    float highest = -infinite();
    for (u64 j = first; j < columns; j += step) highest = fmaxf(highest, input[j]);
    highest = reduce(highest, Maximum());

    double sum = 0.0;
    for (u64 j = first; j < columns; j += step) sum += (double)expf(input[j] - highest);
    float scale = (float)(1.0 / reduce(sum, Add()));

    for (u64 j = first; j < columns; j += step) output[j] = expf(input[j] - highest) * scale;
}

struct WarpReduce {
    template <class T, class Op>
    __device__ T operator()(T value, Op op) const {
        return warp_reduce(value, op);
    }
};

struct BlockReduce {
    template <class T, class Op>
    __device__ T operator()(T value, Op op) const {
        return block_reduce(value, op);
    }
};

KERNEL softmax_warp(const float* __restrict__ input, float* __restrict__ output, u32 rows,
                    u32 columns) {
    for (u64 row = grid_thread() / WARP; row < rows; row += grid_threads() / WARP) {
        u64 first = row * columns;
        row_softmax(input + first, output + first, columns, threadIdx.x % WARP, WARP,
                    WarpReduce());
    }
}

KERNEL softmax_block(const float* __restrict__ input, float* __restrict__ output, u32 rows,
                     u32 columns) {
    for (u64 row = blockIdx.x; row < rows; row += gridDim.x) {
        u64 first = row * columns;
        row_softmax(input + first, output + first, columns, threadIdx.x, BLOCK, BlockReduce());
    }
}
