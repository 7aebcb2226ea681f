// Device code that several kernels share: indices, and sums over a warp or a block.
//
// Conventions of every kernel.cu:
// - Blocks are one-dimensional with BLOCK = 256 threads.
// - Any number of blocks is right, unless an entry says otherwise: the work is a loop over
//   "grid_thread(), + grid_threads(), ..." or over tiles "blockIdx.x, + gridDim.x, ...".
// - Sizes are 32-bit. Indices into arrays are 64-bit: near 2^32 elements `i + grid_threads()`
//   would wrap, and so would the product of two sizes.
// - Reductions are a fixed tree over a fixed grid: the same launch gives the same bits.
#pragma once

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

// An enum, because NVRTC puts a constexpr variable into the PTX even if only its value is used.
enum : u32 {
    BLOCK = 256,
    WARP = 32,
    ALL_LANES = 0xffffffff,
};

#define KERNEL extern "C" __global__ void __launch_bounds__(BLOCK)

__device__ inline u64 grid_thread() {
    return (u64)blockIdx.x * blockDim.x + threadIdx.x;
}

__device__ inline u64 grid_threads() {
    return (u64)gridDim.x * blockDim.x;
}

__device__ inline float infinite() {
    return __int_as_float(0x7f800000);
}

struct Add {
    template <class T>
    __device__ T operator()(T a, T b) const {
        return a + b;
    }
};

// As NumPy's minimum and maximum: a NaN on either side is the result.
struct Minimum {
    __device__ float operator()(float a, float b) const {
        return b < a || b != b ? b : a;
    }
};

struct Maximum {
    __device__ float operator()(float a, float b) const {
        return b > a || b != b ? b : a;
    }
};

// Combines the values of a warp's 32 lanes; every lane gets the result.
template <class T, class Op>
__device__ T warp_reduce(T value, Op op) {
    for (u32 offset = WARP / 2; offset > 0; offset /= 2) {
        value = op(value, __shfl_xor_sync(ALL_LANES, value, offset));
    }
    return value;
}

// Combines the values of a block's BLOCK threads; every thread gets the result.
// All threads of the block must take part.
template <class T, class Op>
__device__ T block_reduce(T value, Op op) {
    __shared__ T warps[BLOCK / WARP];
    value = warp_reduce(value, op);
    if (threadIdx.x % WARP == 0) warps[threadIdx.x / WARP] = value;
    __syncthreads();
    T result = warps[0];
    for (u32 warp = 1; warp < BLOCK / WARP; ++warp) result = op(result, warps[warp]);
    __syncthreads();  // before a second call writes `warps`
    return result;
}

// The sum of an array by one block; every thread gets it.
__device__ inline double block_sum_of(const double* values, u64 count) {
    double sum = 0.0;
    for (u64 i = threadIdx.x; i < count; i += BLOCK) sum += values[i];
    return block_reduce(sum, Add());
}
