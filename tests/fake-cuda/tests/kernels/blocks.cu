// Threads of a block together: barriers, shared memory, shuffles, votes.

// One partial sum a block; blockDim.x a power of two, dynamic shared memory blockDim.x * 4.
extern "C" __global__ void block_sum(const float* x, float* partial, unsigned n) {
    extern __shared__ float s[];
    unsigned t = threadIdx.x, i = blockIdx.x * blockDim.x + t;
    s[t] = i < n ? x[i] : 0.0f;
    __syncthreads();
    for (unsigned w = blockDim.x / 2; w > 32; w >>= 1) {
        if (t < w) s[t] += s[t + w];
        __syncthreads();
    }
    if (t < 32) {
        float v = s[t] + (blockDim.x > 32 ? s[t + 32] : 0.0f);
        for (int d = 16; d > 0; d >>= 1) v += __shfl_down_sync(0xffffffffu, v, d);
        if (t == 0) partial[blockIdx.x] = v;
    }
}

#define TILE 16
extern "C" __global__ void gemm_tiled(const float* a, const float* b, float* c, unsigned m,
                                      unsigned n, unsigned k) {
    __shared__ float sa[TILE][TILE], sb[TILE][TILE];
    unsigned row = blockIdx.y * TILE + threadIdx.y, col = blockIdx.x * TILE + threadIdx.x;
    float acc = 0.0f;
    for (unsigned t = 0; t < (k + TILE - 1) / TILE; ++t) {
        unsigned ka = t * TILE + threadIdx.x, kb = t * TILE + threadIdx.y;
        sa[threadIdx.y][threadIdx.x] = row < m && ka < k ? a[row * k + ka] : 0.0f;
        sb[threadIdx.y][threadIdx.x] = kb < k && col < n ? b[kb * n + col] : 0.0f;
        __syncthreads();
        for (int i = 0; i < TILE; ++i) acc += sa[threadIdx.y][i] * sb[i][threadIdx.x];
        __syncthreads();
    }
    if (row < m && col < n) c[row * n + col] = acc;
}

// Inclusive scan of a block by warp shuffles, for any number of threads.
extern "C" __global__ void scan(const int* in, int* out) {
    __shared__ int sums[32];
    int t = threadIdx.x, lane = t & 31, warp = t >> 5;
    int warps = (blockDim.x + 31) / 32;
    int v = in[blockIdx.x * blockDim.x + t];
    unsigned mask = __activemask();
    for (int d = 1; d < 32; d <<= 1) {
        int u = __shfl_up_sync(mask, v, d);
        if (lane >= d) v += u;
    }
    if (lane == 31 || t == blockDim.x - 1) sums[warp] = v;
    __syncthreads();
    if (t == 0) {
        int run = 0;
        for (int w = 0; w < warps; ++w) {
            int s = sums[w];
            sums[w] = run;
            run += s;
        }
    }
    __syncthreads();
    out[blockIdx.x * blockDim.x + t] = v + sums[warp];
}

extern "C" __global__ void shuffles(const int* in, const double* doubles, int* out, double* dout) {
    int lane = threadIdx.x;
    int v = in[lane];
    out[lane] = __shfl_sync(0xffffffffu, v, lane * 7);
    out[32 + lane] = __shfl_xor_sync(0xffffffffu, v, 5);
    out[64 + lane] = __shfl_down_sync(0xffffffffu, v, 3, 8);
    out[96 + lane] = __shfl_up_sync(0xffffffffu, v, 3, 16);
    out[128 + lane] = __shfl_sync(0xffffffffu, v, 1, 4);
    dout[lane] = __shfl_xor_sync(0xffffffffu, doubles[lane], 16);
    if (lane < 8) out[160 + lane] = __shfl_down_sync(0xffu, v, 1);
}

extern "C" __global__ void votes(const int* in, unsigned* out) {
    int lane = threadIdx.x;
    int v = in[lane];
    out[lane] = __ballot_sync(0xffffffffu, v & 1);
    out[32 + lane] = __any_sync(0xffffffffu, v > 100) + 2 * __all_sync(0xffffffffu, v < 1000);
    if (v & 2)
        out[64 + lane] = __activemask();
    else
        out[64 + lane] = ~__activemask();
    __syncwarp();
    out[96 + lane] = __popc(__ballot_sync(0xffffffffu, v & 4));
}

// __syncthreads_count, _and, _or.
extern "C" __global__ void barrier_votes(const int* in, int* out) {
    int v = in[threadIdx.x];
    out[threadIdx.x] = __syncthreads_count(v & 1);
    out[blockDim.x + threadIdx.x] = __syncthreads_and(v >= 0);
    out[2 * blockDim.x + threadIdx.x] = __syncthreads_or(v > 90);
}

#define EDGE 32
extern "C" __global__ void transpose(const float* in, float* out, int width, int height) {
    __shared__ float tile[EDGE][EDGE + 1];
    int x = blockIdx.x * EDGE + threadIdx.x, y = blockIdx.y * EDGE + threadIdx.y;
    for (int j = 0; j < EDGE; j += blockDim.y)
        if (x < width && y + j < height) tile[threadIdx.y + j][threadIdx.x] = in[(y + j) * width + x];
    __syncthreads();
    x = blockIdx.y * EDGE + threadIdx.x;
    y = blockIdx.x * EDGE + threadIdx.y;
    for (int j = 0; j < EDGE; j += blockDim.y)
        if (x < height && y + j < width) out[(y + j) * height + x] = tile[threadIdx.x][threadIdx.y + j];
}

// Bitonic sort of one block in shared memory: a barrier in a doubly nested loop.
extern "C" __global__ void bitonic(unsigned* data) {
    extern __shared__ unsigned keys[];
    unsigned t = threadIdx.x;
    keys[t] = data[blockIdx.x * blockDim.x + t];
    for (unsigned k = 2; k <= blockDim.x; k <<= 1)
        for (unsigned j = k >> 1; j > 0; j >>= 1) {
            __syncthreads();
            unsigned other = t ^ j;
            if (other > t) {
                bool up = (t & k) == 0;
                unsigned a = keys[t], b = keys[other];
                if ((a > b) == up) {
                    keys[t] = b;
                    keys[other] = a;
                }
            }
        }
    __syncthreads();
    data[blockIdx.x * blockDim.x + t] = keys[t];
}

__device__ __noinline__ float reduced(float v, float* scratch) {
    unsigned t = threadIdx.x;
    scratch[t] = v;
    __syncthreads();
    for (unsigned w = blockDim.x / 2; w > 0; w >>= 1) {
        if (t < w) scratch[t] += scratch[t + w];
        __syncthreads();
    }
    float sum = scratch[0];
    __syncthreads();
    return sum;
}

// A row of softmax a block; the barriers are in a function that is called twice.
extern "C" __global__ void softmax(const float* in, float* out, unsigned columns) {
    __shared__ float scratch[256];
    const float* x = in + (size_t)blockIdx.x * columns;
    float* y = out + (size_t)blockIdx.x * columns;
    float sum = 0.0f;
    for (unsigned j = threadIdx.x; j < columns; j += blockDim.x) sum += x[j];
    float mean = reduced(sum, scratch) / columns;
    sum = 0.0f;
    for (unsigned j = threadIdx.x; j < columns; j += blockDim.x) sum += expf(x[j] - mean);
    float total = reduced(sum, scratch);
    for (unsigned j = threadIdx.x; j < columns; j += blockDim.x) y[j] = expf(x[j] - mean) / total;
}
