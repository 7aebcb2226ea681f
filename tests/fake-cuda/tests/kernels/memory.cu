// Every way to reach memory: state spaces, widths, structures, atomics.

extern "C" __global__ void saxpy(float a, const float* x, float* y, unsigned n) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = a * x[i] + y[i];
}

// char, short and their unsigned kinds.
extern "C" __global__ void narrow(const signed char* a, const unsigned char* b, const short* c,
                                  const unsigned short* d, signed char* e, unsigned short* f,
                                  int* wide, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    e[i] = (signed char)(a[i] + b[i]);
    f[i] = (unsigned short)(c[i] * d[i]);
    wide[i] = a[i] * 1000 + b[i] + c[i] / 3 - (d[i] >> 2);
}

extern "C" __global__ void vectors(const float4* a, const int2* b, const double2* c,
                                   const uchar4* d, float4* e, int2* f, double2* g, uchar4* h) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    float4 v = a[i];
    e[i] = make_float4(v.w, v.z, v.y, v.x);
    int2 w = b[i];
    f[i] = make_int2(w.y, w.x + w.y);
    double2 x = c[i];
    g[i] = make_double2(x.y, x.x * 2.0);
    uchar4 y = d[i];
    h[i] = make_uchar4(y.w, y.z, y.y, y.x);
}

struct Options {
    float scale;
    int shift;
    double bias;
    unsigned char flags[5];
    float weights[8];
};

// A structure by value, indexed with a value that only the thread knows.
extern "C" __global__ void structure(Options o, const float* x, double* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    y[i] = x[i] * o.scale * o.weights[i & 7] + o.bias + (o.flags[i % 5] << o.shift);
}

// A local array with dynamic indices: .local memory, one for each thread.
extern "C" __global__ void local_array(const int* a, int* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int counts[16];
    for (int j = 0; j < 16; ++j) counts[j] = 0;
    unsigned x = a[i];
    for (int j = 0; j < 8; ++j) {
        counts[x & 15] += j + 1;
        x >>= 4;
    }
    int best = 0;
    for (int j = 1; j < 16; ++j)
        if (counts[j] > counts[best]) best = j;
    out[i] = best * 1000 + counts[(a[i] >> 3) & 15];
}

__constant__ float coefficients[4] = {1.0f, -2.0f, 0.5f, 0.25f};
__constant__ int offset;
__device__ int counter = 7;
__device__ unsigned long long stamps[4] = {1ull, 2ull, 0xffffffffffffffffull, 4ull};
__device__ const unsigned char primes[6] = {2, 3, 5, 7, 11, 13};
__device__ float* indirect;

extern "C" __global__ void globals(const float* x, float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float v = x[i], r = 0.0f;
    for (int j = 3; j >= 0; --j) r = r * v + coefficients[j];
    y[i] = r + offset + primes[i % 6] + (float)stamps[i & 1];
    if (i == 0) {
        counter += 1;
        stamps[3] = counter;
        if (indirect) *indirect = 42.0f;
    }
}

// Read-only loads, 64-bit indices and strides, volatile and fences.
extern "C" __global__ void wide_index(const int* __restrict__ a, int* out, long long stride,
                                      long long n) {
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < n;
         i += (long long)gridDim.x * blockDim.x)
        out[i * stride] = __ldg(a + n - 1 - i);
}

extern "C" __global__ void fences(volatile int* flag, volatile int* data, int* out) {
    if (blockIdx.x == 0) {
        if (threadIdx.x == 0) {
            *data = 99;
            __threadfence();
            *flag = 1;
        }
    } else if (threadIdx.x == 0) {
        while (*flag == 0) {}
        __threadfence();
        out[blockIdx.x] = *data;
    }
}

// Block 0 waits for the last block: blocks must run beside each other.
extern "C" __global__ void rendezvous(unsigned* arrived, int* out) {
    if (threadIdx.x == 0) {
        __threadfence();
        atomicAdd(arrived, 1u);
        while (*(volatile unsigned*)arrived < gridDim.x) {}
        out[blockIdx.x] = 1;
    }
}

extern "C" __global__ void atomics(const int* a, int* ints, unsigned* uints,
                                   unsigned long long* longs, float* floats, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int v = a[i];
    atomicAdd(&ints[0], v);
    atomicSub(&ints[1], v);
    atomicMin(&ints[2], v);
    atomicMax(&ints[3], v);
    atomicAnd(&ints[4], v);
    atomicOr(&ints[5], v);
    atomicXor(&ints[6], v);
    atomicMin(&uints[0], (unsigned)v);
    atomicMax(&uints[1], (unsigned)v);
    atomicInc(&uints[2], 10);
    atomicDec(&uints[3], 7);
    atomicAdd(&uints[4], 1u);
    uints[8 + i] = atomicAdd(&uints[5], 1u);
    atomicAdd(&longs[0], (unsigned long long)(unsigned)v);
    atomicMax(&longs[1], (unsigned long long)v);
    atomicExch(&longs[2], 77ull);
    atomicAdd(&floats[0], (float)v);
    unsigned assumed, old = __float_as_uint(floats[1]);
    do {
        assumed = old;
        old = atomicCAS((unsigned*)&floats[1], assumed,
                        __float_as_uint(fmaxf(__uint_as_float(assumed), (float)v)));
    } while (assumed != old);
}

extern "C" __global__ void histogram(const unsigned char* data, unsigned* bins, int n) {
    __shared__ unsigned local[256];
    for (int j = threadIdx.x; j < 256; j += blockDim.x) local[j] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        atomicAdd(&local[data[i]], 1u);
    __syncthreads();
    for (int j = threadIdx.x; j < 256; j += blockDim.x) atomicAdd(&bins[j], local[j]);
}

// A spin lock between the lanes of one warp: only independent progress of lanes gets through.
extern "C" __global__ void spin_lock(unsigned* lock, int* total) {
    bool done = false;
    while (!done) {
        if (atomicCAS(lock, 0u, 1u) == 0u) {
            *(volatile int*)total += 1;
            __threadfence();
            atomicExch(lock, 0u);
            done = true;
        }
    }
}

// A generic pointer that is global in some lanes, shared or local in others.
extern "C" __global__ void generic(int* a, int* out) {
    __shared__ int s[32];
    int l[4] = {1, 2, 3, 4};
    int t = threadIdx.x;
    s[t] = 100 + t;
    l[t & 3] = 200 + t;
    __syncthreads();
    int* p = t % 3 == 0 ? &a[t] : t % 3 == 1 ? &s[31 - t] : &l[t & 3];
    out[t] = *p;
    *p = -t;
    __syncthreads();
    out[32 + t] = s[t] + l[t & 3];
}

// One element past the end.
extern "C" __global__ void stray(int* a, int n) { a[blockIdx.x * blockDim.x + threadIdx.x + n] = 1; }
extern "C" __global__ void misaligned(char* a) { *(int*)(a + threadIdx.x) = 1; }
