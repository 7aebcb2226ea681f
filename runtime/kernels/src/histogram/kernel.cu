// Counts into bins between edges that are, bit for bit, those of the host: edges[0..bins + 1] rise
// strictly, which the host has checked, and bin i holds edges[i] <= v < edges[i + 1], the last one also v = edges[bins]. Other values and NaN
// are not counted. `scale` = bins / (edges[bins] - edges[0]) only makes a first guess, which the
// edges then correct: host and device agree for every value. In double, the guess is at most
// three bins away; in float, that of the narrowest bins would overflow.
//
// histogram_edges(float* edges, u32 bins, float low, float high, double width)
//   Writes edges[0..bins + 1]; width = ((double)high - low) / bins.
//   grid: any; block: 256; shared: none.
// histogram_shared(const float* input, const float* edges, u64* counts, u32 n, u32 bins,
//                  double scale)
//   For bins <= 8,192. Counts in shared memory, then adds to `counts`.
//   grid: any (a few blocks per multiprocessor); block: 256; dynamic shared: 4 * bins bytes.
// histogram_global(the same arguments)
//   For any number of bins. Adds to `counts` at once.
//   grid: any; block: 256; shared: none.
//
// counts[0..bins] must be zero before the launch. Indices are 64-bit: any n. Counts are integers:
// the order of the atomic additions does not show.
#include "common.cuh"

KERNEL histogram_edges(float* edges, u32 bins, float low, float high, double width) {
    for (u64 i = grid_thread(); i <= bins; i += grid_threads()) {
        // Product and sum are rounded each, as on the host.
        double edge = __dadd_rn(__dmul_rn((double)(u32)i, width), (double)low);
        edges[i] = i == bins ? high : (float)edge;
    }
}

// A value's bin, or `bins` if it is in none.
__device__ u32 bin_of(float value, const float* edges, u32 bins, double scale) {
    float low = edges[0];
    if (!(value >= low && value <= edges[bins])) return bins;
    double guess = ((double)value - (double)low) * scale;
    u32 bin = min(__double2uint_rz(guess), bins - 1);
    while (value < edges[bin]) --bin;
    while (bin + 1 < bins && value >= edges[bin + 1]) ++bin;
    return bin;
}

KERNEL histogram_shared(const float* __restrict__ input, const float* __restrict__ edges,
                        u64* counts, u32 n, u32 bins, double scale) {
    extern __shared__ u32 block_counts[];
    for (u32 bin = threadIdx.x; bin < bins; bin += BLOCK) block_counts[bin] = 0;
    __syncthreads();
    for (u64 i = grid_thread(); i < n; i += grid_threads()) {
        u32 bin = bin_of(input[i], edges, bins, scale);
        if (bin < bins) atomicAdd(&block_counts[bin], 1u);
    }
    __syncthreads();
    for (u32 bin = threadIdx.x; bin < bins; bin += BLOCK) {
        if (block_counts[bin] != 0) atomicAdd(&counts[bin], (u64)block_counts[bin]);
    }
}

KERNEL histogram_global(const float* __restrict__ input, const float* __restrict__ edges,
                        u64* counts, u32 n, u32 bins, double scale) {
    for (u64 i = grid_thread(); i < n; i += grid_threads()) {
        u32 bin = bin_of(input[i], edges, bins, scale);
        if (bin < bins) atomicAdd(&counts[bin], (u64)1);
    }
}
