// Divergent control flow: what lanes of one warp do apart, and where they meet again.

// Collatz steps: every lane loops a number of times of its own.
extern "C" __global__ void collatz(const unsigned* start, unsigned* steps, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    unsigned x = start[i], k = 0;
    while (x != 1) {
        x = x & 1 ? 3 * x + 1 : x / 2;
        if (++k == 1000) break;
    }
    steps[i] = k;
}

// Nested loops with break and continue, and a switch with holes, a fall-through and a default.
extern "C" __global__ void tangle(const int* a, int* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int x = a[i], sum = 0;
    for (int j = 0; j < (x & 15); ++j) {
        if (j == 3) continue;
        for (int k = j; k < 20; k += 3) {
            if ((k ^ x) % 7 == 0) break;
            sum += k * j;
        }
        switch ((x >> 4 ^ j) & 15) {
            case 0: sum += 1; break;
            case 1: sum -= 3;
            case 2: sum *= 3; break;
            case 5: sum ^= 0x55; break;
            case 6: sum = sum << 1 | 1; break;
            case 7: sum += j * 100; break;
            case 9: goto out;
            case 11: sum = -sum; break;
            default: sum += 7;
        }
    }
out:
    out[i] = sum;
}

__device__ __noinline__ int gcd(int a, int b) {
    while (b) {
        int t = a % b;
        a = b;
        b = t;
    }
    return a;
}

struct Pair { int first; float second; double third; };

__device__ __noinline__ Pair made(int x, float y) {
    Pair p;
    p.first = x * 2;
    p.second = y + 0.5f;
    p.third = (double)x / 3.0;
    if (x < 0) p.first = -1;
    return p;
}

__device__ __noinline__ float taken(Pair p, float* extra) {
    *extra = p.second * 2.0f;
    return p.first + (float)p.third;
}

// Calls of device functions: by value, by pointer to a local, structures both ways, from divergent code.
extern "C" __global__ void calls(const int* a, const int* b, float* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float extra = 0.0f, result;
    if (a[i] & 1)
        result = gcd(abs(a[i]), abs(b[i]) + 1);
    else
        result = taken(made(a[i], (float)b[i]), &extra);
    if (b[i] & 1) result += gcd(abs(a[i]) + 1, 12);
    out[i] = result + extra;
}

// A function that calls itself.
__device__ __noinline__ unsigned ackermann(unsigned m, unsigned n) {
    if (m == 0) return n + 1;
    if (n == 0) return ackermann(m - 1, 1);
    return ackermann(m - 1, ackermann(m, n - 1));
}

__device__ __noinline__ unsigned fibonacci(unsigned n) {
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

extern "C" __global__ void recursion(unsigned* out) {
    unsigned t = threadIdx.x;
    out[t] = t % 3 == 0 ? ackermann(2, t & 7) : fibonacci(t & 15);
}

// Function pointers, chosen by each lane.
__device__ __noinline__ float twice(float x) { return x + x; }
__device__ __noinline__ float square(float x) { return x * x; }
__device__ __noinline__ float negate(float x) { return -x; }
typedef float (*Unary)(float);
__device__ Unary table[3] = {twice, square, negate};

extern "C" __global__ void pointers(const float* a, float* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    out[i] = table[i % 3](a[i]);
}

// Some lanes leave early; the others still meet at a barrier.
extern "C" __global__ void early_return(int* out, int limit) {
    __shared__ int total;
    if (threadIdx.x == 0) total = 0;
    __syncthreads();
    if ((int)threadIdx.x >= limit) return;
    atomicAdd(&total, 1);
    __syncthreads();
    out[blockIdx.x * limit + threadIdx.x] = total;
}

extern "C" __global__ void forever(volatile int* flag) {
    while (*flag == 0) {}
}

extern "C" __global__ void asserts(const int* a, int limit) {
    if (a[threadIdx.x] >= limit) asm("trap;");
}
