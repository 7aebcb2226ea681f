// Inclusive sum, reduce then scan, in three launches over tiles of TILE = 2,048 elements.
// T = ceil(n / 2048) tiles.
//
// 1. scan_tile_sums(const float* input, double* sums, u32 n)
//      sums[t] = the sum of tile t.
//      grid: any (T blocks fill the device); block: 256; shared: none.
// 2. scan_offsets(double* sums, u32 count)
//      sums[t] = the sum of all tiles before t, in place; count = T.
//      grid: exactly 1; block: 256; shared: none.
// 3. scan_tiles(const float* input, const double* sums, float* output, u32 n)
//      output[i] = input[0] + ... + input[i], added up in double.
//      grid: any (T blocks fill the device); block: 256; shared: none.
//
// Scratch: sums, 8 * T bytes. Indices are 64-bit: any n >= 1.
#include "common.cuh"

enum : u32 {
    PER_THREAD = 8,
    TILE = BLOCK * PER_THREAD,
};

// The sum of `value` over the block's threads before this one; `total` is that over all.
__device__ double block_exclusive_scan(double value, double& total) {
    __shared__ double warps[BLOCK / WARP];
    u32 lane = threadIdx.x % WARP;
    double inclusive = value;
    for (u32 offset = 1; offset < WARP; offset *= 2) {
        double before = __shfl_up_sync(ALL_LANES, inclusive, offset);
        if (lane >= offset) inclusive += before;
    }
    if (lane == WARP - 1) warps[threadIdx.x / WARP] = inclusive;
    double exclusive = __shfl_up_sync(ALL_LANES, inclusive, 1);
    if (lane == 0) exclusive = 0.0;
    __syncthreads();
    double before = 0.0;
    total = 0.0;
    for (u32 warp = 0; warp < BLOCK / WARP; ++warp) {
        if (warp == threadIdx.x / WARP) before = total;
        total += warps[warp];
    }
    __syncthreads();  // before a second call writes `warps`
    return before + exclusive;
}

KERNEL scan_tile_sums(const float* __restrict__ input, double* __restrict__ sums, u32 n) {
    for (u64 first = (u64)blockIdx.x * TILE; first < n; first += (u64)gridDim.x * TILE) {
        double sum = 0.0;
        for (u32 step = 0; step < PER_THREAD; ++step) {
            u64 i = first + step * BLOCK + threadIdx.x;
            if (i < n) sum += (double)input[i];
        }
        sum = block_reduce(sum, Add());
        if (threadIdx.x == 0) sums[first / TILE] = sum;
    }
}

KERNEL scan_offsets(double* sums, u32 count) {
    double carry = 0.0;
    for (u64 first = 0; first < count; first += BLOCK) {
        u64 i = first + threadIdx.x;
        double total;
        double before = block_exclusive_scan(i < count ? sums[i] : 0.0, total);
        if (i < count) sums[i] = carry + before;
        carry += total;
    }
}

// Where element i of a tile lies in shared memory: one word of padding after every PER_THREAD
// makes the 32 lanes, each at its own run of PER_THREAD elements, use 32 different banks.
__device__ u32 padded(u32 i) {
    return i + i / PER_THREAD;
}

KERNEL scan_tiles(const float* __restrict__ input, const double* __restrict__ sums,
                  float* __restrict__ output, u32 n) {
    __shared__ float tile[TILE + TILE / PER_THREAD];
    for (u64 first = (u64)blockIdx.x * TILE; first < n; first += (u64)gridDim.x * TILE) {
        for (u32 i = threadIdx.x; i < TILE; i += BLOCK) {
            tile[padded(i)] = first + i < n ? input[first + i] : 0.0f;
        }
        __syncthreads();

        u32 run = threadIdx.x * PER_THREAD;
        double sum = 0.0;
        for (u32 i = 0; i < PER_THREAD; ++i) sum += (double)tile[padded(run + i)];
        double total;
        sum = sums[first / TILE] + block_exclusive_scan(sum, total);
        for (u32 i = 0; i < PER_THREAD; ++i) {
            sum += (double)tile[padded(run + i)];
            tile[padded(run + i)] = (float)sum;
        }
        __syncthreads();

        for (u32 i = threadIdx.x; i < TILE; i += BLOCK) {
            if (first + i < n) output[first + i] = tile[padded(i)];
        }
        __syncthreads();  // before the next tile is loaded
    }
}
