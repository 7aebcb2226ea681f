// European options by Monte Carlo in two launches; the slices of one option are summed in a fixed
// order, so that the result does not depend on the grid. S = ceil(paths / 16384) slices.
//
// 1. black_scholes_paths(const float* spot, const float* strike, const float* maturity,
//                        double* partials, u32 n, float rate, float volatility, u32 paths,
//                        u64 seed)
//      partials[(i * S + s) * 4 + {0, 1, 2, 3}] = the sums of call, call squared, put and put
//      squared over the paths of slice s of option i, each payoff less its value at z = 0.
//      grid: any (n * S blocks fill the device); block: 256; shared: none.
// 2. black_scholes_prices(const float* spot, const float* strike, const float* maturity,
//                         const double* partials, float* call, float* put, float* call_error,
//                         float* put_error, u32 n, float rate, float volatility, u32 paths)
//      Means and standard errors, discounted. One thread per option.
//      grid: any (ceil(n / 256) blocks fill the device); block: 256; shared: none.
//
// Scratch: partials, 32 * n * S bytes.
//
// Random numbers: lane p % 4 of Philox4x32-10 with counter (p / 4, i, 0, 0) and key `seed`, low
// word first, made normal in pairs by Box and Muller, is z of path p of option i.
#include "common.cuh"

enum : u32 { SLICE = 16384 };

// Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011.
__device__ uint4 philox(uint4 counter, u64 seed) {
    u32 key_x = (u32)seed;
    u32 key_y = (u32)(seed >> 32);
    for (u32 round = 0; round < 10; ++round) {
        u64 product_x = (u64)0xD2511F53 * counter.x;
        u64 product_z = (u64)0xCD9E8D57 * counter.z;
        counter = make_uint4((u32)(product_z >> 32) ^ counter.y ^ key_x, (u32)product_z,
                             (u32)(product_x >> 32) ^ counter.w ^ key_y, (u32)product_x);
        key_x += 0x9E3779B9;
        key_y += 0xBB67AE85;
    }
    return counter;
}

// The middle of the x-th of 2^32 equal parts of [0, 1], rounded to float.
__device__ float uniform(u32 x) {
    return (float)x * 0x1p-32f + 0x1p-33f;
}

// Box and Muller, 1958: two independent normal numbers.
__device__ void normal_pair(u32 x, u32 y, float* z) {
    float radius = sqrtf(-2.0f * logf(uniform(x)));
    float sine, cosine;
    sincospif(2.0f * uniform(y), &sine, &cosine);
    z[0] = radius * cosine;
    z[1] = radius * sine;
}

struct Option {
    float spot, strike, drift, deviation;

    __device__ Option(float spot, float strike, float maturity, float rate, float volatility)
        : spot(spot),
          strike(strike),
          drift((float)(((double)rate - 0.5 * volatility * volatility) * maturity)),
          deviation((float)(volatility * sqrt((double)maturity))) {}

    __device__ void payoffs(float z, float& call, float& put) const {
        float terminal = spot * expf(drift + deviation * z);
        call = fmaxf(terminal - strike, 0.0f);
        put = fmaxf(strike - terminal, 0.0f);
    }
};

// Sums of payoffs and of their squares. Payoffs are taken less a constant, their value at z = 0:
// the variance of nearly equal payoffs would otherwise be lost in the difference of two sums.
struct Sums {
    double call, call_squares, put, put_squares;
};

__device__ Sums slice_sums(const Option& option, u32 index, u64 first, u64 end, u64 seed) {
    float middle_call, middle_put;
    option.payoffs(0.0f, middle_call, middle_put);
    Sums sums = {};
    for (u64 path = first + 4 * threadIdx.x; path < end; path += 4 * BLOCK) {
        uint4 random = philox(make_uint4((u32)(path / 4), index, 0, 0), seed);
        float z[4];
        normal_pair(random.x, random.y, z);
        normal_pair(random.z, random.w, z + 2);
        // Four payoffs in float, then into double: doubles are slow on most devices. Squares leave
        // float long before prices do.
        float call = 0.0f, put = 0.0f;
        for (u32 lane = 0; lane < 4; ++lane) {
            float path_call, path_put;
            option.payoffs(z[lane], path_call, path_put);
            path_call = path + lane < end ? path_call - middle_call : 0.0f;
            path_put = path + lane < end ? path_put - middle_put : 0.0f;
            call += path_call;
            sums.call_squares += (double)path_call * path_call;
            put += path_put;
            sums.put_squares += (double)path_put * path_put;
        }
        sums.call += (double)call;
        sums.put += (double)put;
    }
    return sums;
}

__device__ u64 slices(u32 paths) {
    return ((u64)paths + SLICE - 1) / SLICE;
}

KERNEL black_scholes_paths(const float* __restrict__ spot, const float* __restrict__ strike,
                           const float* __restrict__ maturity, double* __restrict__ partials,
                           u32 n, float rate, float volatility, u32 paths, u64 seed) {
    u64 per_option = slices(paths);
    for (u64 task = blockIdx.x; task < n * per_option; task += gridDim.x) {
        u32 i = (u32)(task / per_option);
        u64 first = task % per_option * SLICE;
        u64 end = min(first + SLICE, (u64)paths);
        Option option(spot[i], strike[i], maturity[i], rate, volatility);
        Sums sums = slice_sums(option, i, first, end, seed);
        double call = block_reduce(sums.call, Add());
        double call_squares = block_reduce(sums.call_squares, Add());
        double put = block_reduce(sums.put, Add());
        double put_squares = block_reduce(sums.put_squares, Add());
        if (threadIdx.x == 0) {
            partials[task * 4 + 0] = call;
            partials[task * 4 + 1] = call_squares;
            partials[task * 4 + 2] = put;
            partials[task * 4 + 3] = put_squares;
        }
    }
}

// Discounted mean and standard error from the sums over `paths` payoffs less `middle`.
// One path has no standard error: NaN.
__device__ void estimate(double sum, double squares, float middle, double discount, u32 paths,
                         float& price, float& error) {
    double mean = sum / paths;
    double spread = sqrt(fmax(squares / paths - mean * mean, 0.0) / (paths - 1.0));
    price = (float)(discount * (middle + mean));
    error = paths > 1 ? (float)(discount * spread) : __int_as_float(0x7fc00000);
}

KERNEL black_scholes_prices(const float* __restrict__ spot, const float* __restrict__ strike,
                            const float* __restrict__ maturity,
                            const double* __restrict__ partials, float* __restrict__ call,
                            float* __restrict__ put, float* __restrict__ call_error,
                            float* __restrict__ put_error, u32 n, float rate, float volatility,
                            u32 paths) {
    u64 per_option = slices(paths);
    for (u64 i = grid_thread(); i < n; i += grid_threads()) {
        Sums sums = {};
        for (u64 task = i * per_option; task < (i + 1) * per_option; ++task) {
            sums.call += partials[task * 4 + 0];
            sums.call_squares += partials[task * 4 + 1];
            sums.put += partials[task * 4 + 2];
            sums.put_squares += partials[task * 4 + 3];
        }
        Option option(spot[i], strike[i], maturity[i], rate, volatility);
        float middle_call, middle_put;
        option.payoffs(0.0f, middle_call, middle_put);
        double discount = exp(-(double)rate * maturity[i]);
        estimate(sums.call, sums.call_squares, middle_call, discount, paths, call[i],
                 call_error[i]);
        estimate(sums.put, sums.put_squares, middle_put, discount, paths, put[i], put_error[i]);
    }
}
