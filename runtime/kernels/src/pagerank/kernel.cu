// PageRank by power iteration, ranks in double. The host checks the CSR graph and transposes it;
// the device pulls rank along in-links, so that every sum has a fixed order and needs no atomics.
//
// State: struct { double change; u32 iterations; u32 done; }, 16 bytes, zero before the first
// launch. Once `done` is set the launches of further iterations change nothing: the host may
// queue several iterations (say 8) before it looks, and still gets the result of the exact
// iteration that converged.
//
// 1. pagerank_start(double* ranks, u32 vertices)
//      ranks = 1 / vertices.
//      grid: any; block: 256; shared: none.
// 2. for every iteration:
//    pagerank_spread(const State* state, const int* offsets, const double* ranks,
//                    double* contributions, double* dangling, u32 vertices)
//      contributions[v] = ranks[v] / out-links of v (0 if it has none); dangling[b] = the rank
//      of vertices without out-links that block b takes.
//      grid: any D >= 1 (at most 1,024 is best); block: 256; shared: none.
//    pagerank_gather(const State* state, const int* in_offsets, const int* sources,
//                    const double* contributions, const double* dangling, u32 dangling_count,
//                    double* ranks, double* changes, float damping, u32 vertices)
//      ranks[v] = (1 - damping) / vertices + damping * (all dangling rank / vertices + the
//      contributions of v's sources); changes[b] = sum of |new - old| that block b takes.
//      dangling_count = D. grid: any C >= 1; block: 256, one warp per vertex; shared: none.
//    pagerank_check(State* state, const double* changes, u32 count, float tolerance)
//      state.change = sum of changes[0..count], count = C; iterations += 1; done if change <=
//      tolerance.
//      grid: exactly 1; block: 256; shared: none.
// 3. pagerank_finish(const double* ranks, float* output, u32 vertices)
//      grid: any; block: 256; shared: none.
//
// offsets[vertices + 1]: the out-link CSR. in_offsets[vertices + 1], sources[edges]: its
// transpose. Scratch: ranks and contributions 8 * vertices bytes each, dangling 8 * D, changes
// 8 * C, in_offsets 4 * (vertices + 1), sources 4 * edges, state 16.
#include "common.cuh"

struct State {
    double change;
    u32 iterations;
    u32 done;
};

KERNEL pagerank_start(double* ranks, u32 vertices) {
    for (u64 v = grid_thread(); v < vertices; v += grid_threads()) ranks[v] = 1.0 / vertices;
}

KERNEL pagerank_spread(const State* state, const int* __restrict__ offsets,
                       const double* __restrict__ ranks, double* __restrict__ contributions,
                       double* __restrict__ dangling, u32 vertices) {
    if (state->done) return;
    double stranded = 0.0;
    for (u64 v = grid_thread(); v < vertices; v += grid_threads()) {
        int links = offsets[v + 1] - offsets[v];
        contributions[v] = links > 0 ? ranks[v] / links : 0.0;
        if (links == 0) stranded += ranks[v];
    }
    stranded = block_reduce(stranded, Add());
    if (threadIdx.x == 0) dangling[blockIdx.x] = stranded;
}

// One warp per vertex (Bell and Garland, "Implementing sparse matrix-vector multiplication on
// throughput-oriented processors", 2009).
KERNEL pagerank_gather(const State* state, const int* __restrict__ in_offsets,
                       const int* __restrict__ sources, const double* __restrict__ contributions,
                       const double* __restrict__ dangling, u32 dangling_count,
                       double* __restrict__ ranks, double* __restrict__ changes, float damping,
                       u32 vertices) {
    if (state->done) return;
    double stranded = block_sum_of(dangling, dangling_count);
    double base = (1.0 - damping + damping * stranded) / vertices;
    u32 lane = threadIdx.x % WARP;
    double change = 0.0;
    for (u64 v = grid_thread() / WARP; v < vertices; v += grid_threads() / WARP) {
        double sum = 0.0;
        for (u32 link = in_offsets[v] + lane; link < (u32)in_offsets[v + 1]; link += WARP) {
            sum += contributions[sources[link]];
        }
        sum = warp_reduce(sum, Add());
        if (lane == 0) {
            double rank = base + damping * sum;
            change += fabs(rank - ranks[v]);
            ranks[v] = rank;
        }
    }
    change = block_reduce(change, Add());
    if (threadIdx.x == 0) changes[blockIdx.x] = change;
}

KERNEL pagerank_check(State* state, const double* __restrict__ changes, u32 count,
                      float tolerance) {
    if (state->done) return;
    double change = block_sum_of(changes, count);
    if (threadIdx.x == 0) {
        state->change = change;
        state->iterations += 1;
        state->done = change <= tolerance;
    }
}

KERNEL pagerank_finish(const double* __restrict__ ranks, float* __restrict__ output,
                       u32 vertices) {
    for (u64 v = grid_thread(); v < vertices; v += grid_threads()) output[v] = (float)ranks[v];
}
