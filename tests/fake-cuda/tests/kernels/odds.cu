// What compute kernels do now and then: virtual functions, three dimensions, clocks, the last block.

struct Shape {
    __device__ virtual float area(float x) = 0;
};
struct Square : Shape {
    float scale;
    __device__ float area(float x) { return scale * x * x; }
};
struct Line : Shape {
    __device__ float area(float x) { return x + 1.0f; }
};

extern "C" __global__ void virtuals(float* out, int n) {
    int i = threadIdx.x;
    if (i >= n) return;
    Square square;
    square.scale = 3.0f;
    Line line;
    Shape* shape = i & 1 ? (Shape*)&square : (Shape*)&line;
    out[i] = shape->area((float)i);
}

template <int N> struct Matrix { float m[N][N]; };

extern "C" __global__ void transform(Matrix<4> a, const float* v, float* out) {
    int i = threadIdx.x;
    float sum = 0.0f;
    for (int j = 0; j < 4; ++j) sum += a.m[i][j] * v[j];
    out[i] = sum;
}

extern "C" __global__ void dimensions(int* out) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y,
        z = blockIdx.z * blockDim.z + threadIdx.z;
    int width = gridDim.x * blockDim.x, height = gridDim.y * blockDim.y;
    out[(z * height + y) * width + x] = x + 100 * y + 10000 * z;
}

// Waits until the clock has gone on.
extern "C" __global__ void wait(long long cycles, long long* out) {
    long long start = clock64();
    while (clock64() - start < cycles) {}
    out[threadIdx.x] = clock64() - start;
}

__device__ int finished;

// A sum over all blocks in one launch: the last one adds up what the others have written.
extern "C" __global__ void grid_sum(const float* x, float* out, int n) {
    __shared__ bool last;
    __shared__ float warps[32];
    float sum = 0.0f;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) sum += x[i];
    for (int d = 16; d; d >>= 1) sum += __shfl_down_sync(0xffffffffu, sum, d);
    if ((threadIdx.x & 31) == 0) warps[threadIdx.x >> 5] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        float total = 0.0f;
        for (int w = 0; w < blockDim.x / 32; ++w) total += warps[w];
        out[1 + blockIdx.x] = total;
        __threadfence();
        last = atomicAdd(&finished, 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (last && threadIdx.x == 0) {
        float total = 0.0f;
        for (int b = 0; b < gridDim.x; ++b) total += ((volatile float*)out)[1 + b];
        out[0] = total;
        finished = 0;
    }
}

// More local memory than registers could hold, and copies of sixteen bytes past the caches.
extern "C" __global__ void large_local(const int4* in, int4* out, int n) {
    int values[64];
    for (int i = 0; i < 64; ++i) values[i] = i * (threadIdx.x + 1);
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        int4 v = __ldcg(in + i);
        v.x += values[(i * 7) & 63];
        __stcs(out + i, v);
    }
}

extern "C" __device__ int printf(const char*, ...);

extern "C" __global__ void say(int x, double d) { printf("fake-cuda says %d, %.3f, %5u|%c%%\n", x, d, 42u, 'z'); }
