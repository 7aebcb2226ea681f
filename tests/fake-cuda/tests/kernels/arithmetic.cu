// Every arithmetic operator of CUDA C, one result after another, for operands that the test chooses.
// Thread i works on operands a[i], b[i], c[i] and writes its results to out[i * WIDTH ...].

extern "C" __global__ void int_ops(const int* a, const int* b, const int* c, int* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int x = a[i], y = b[i], z = c[i];
    int* o = out + i * 24;
    *o++ = x + y;
    *o++ = x - y;
    *o++ = x * y;
    *o++ = y == 0 ? 0 : x / (y == -1 ? 1 : y);
    *o++ = y == 0 ? 0 : x % (y == -1 ? 1 : y);
    *o++ = x * y + z;
    *o++ = min(x, y);
    *o++ = max(x, y);
    *o++ = abs(x);
    *o++ = -x;
    *o++ = x & y;
    *o++ = x | y;
    *o++ = x ^ y;
    *o++ = ~x;
    *o++ = x << (y & 31);
    *o++ = x >> (y & 31);
    *o++ = __mulhi(x, y);
    *o++ = __popc(x);
    *o++ = __clz(x);
    *o++ = __ffs(x);
    *o++ = __brev(x);
    *o++ = __mul24(x, y);
    *o++ = __sad(x, y, z);
    *o++ = __byte_perm(x, y, z);
}

extern "C" __global__ void uint_ops(const unsigned* a, const unsigned* b, const unsigned* c,
                                    unsigned* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    unsigned x = a[i], y = b[i], z = c[i];
    unsigned* o = out + i * 16;
    *o++ = y == 0 ? 0 : x / y;
    *o++ = y == 0 ? 0 : x % y;
    *o++ = min(x, y);
    *o++ = max(x, y);
    *o++ = x >> (y & 31);
    *o++ = __umulhi(x, y);
    *o++ = __umul24(x, y);
    *o++ = __usad(x, y, z);
    *o++ = __funnelshift_l(x, y, z);
    *o++ = __funnelshift_r(x, y, z);
    *o++ = __funnelshift_lc(x, y, z);
    *o++ = __funnelshift_rc(x, y, z);
    *o++ = (x >> 5) & 0x3ff;
    *o++ = __uhadd(x, y);
    *o++ = __vadd4(x, y);
    *o++ = x / 7u + y % 10u;
}

extern "C" __global__ void long_ops(const long long* a, const long long* b, const long long* c,
                                    long long* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    long long x = a[i], y = b[i], z = c[i];
    long long* o = out + (size_t)i * 24;
    *o++ = x + y;
    *o++ = x - y;
    *o++ = x * y;
    *o++ = y == 0 ? 0 : x / (y == -1 ? 1 : y);
    *o++ = y == 0 ? 0 : x % (y == -1 ? 1 : y);
    *o++ = x * y + z;
    *o++ = min(x, y);
    *o++ = max(x, y);
    *o++ = llabs(x);
    *o++ = x & y;
    *o++ = x | y;
    *o++ = x ^ y;
    *o++ = ~x;
    *o++ = x << (y & 63);
    *o++ = x >> (y & 63);
    *o++ = (long long)((unsigned long long)x >> (y & 63));
    *o++ = __mul64hi(x, y);
    *o++ = (long long)__umul64hi(x, y);
    *o++ = __popcll(x);
    *o++ = __clzll(x);
    *o++ = __ffsll(x);
    *o++ = (long long)__brevll(x);
    *o++ = y == 0 ? 0 : (long long)((unsigned long long)x / (unsigned long long)y);
    *o++ = y == 0 ? 0 : (long long)((unsigned long long)x % (unsigned long long)y);
}

extern "C" __global__ void float_ops(const float* a, const float* b, const float* c, float* out,
                                     int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float x = a[i], y = b[i], z = c[i];
    float* o = out + i * 40;
    *o++ = x + y;
    *o++ = x - y;
    *o++ = __fmul_rn(x, y);
    *o++ = x / y;
    *o++ = fmaf(x, y, z);
    *o++ = sqrtf(x);
    *o++ = fminf(x, y);
    *o++ = fmaxf(x, y);
    *o++ = fabsf(x);
    *o++ = -x;
    *o++ = floorf(x);
    *o++ = ceilf(x);
    *o++ = truncf(x);
    *o++ = rintf(x);
    *o++ = copysignf(x, y);
    *o++ = __fadd_rz(x, y);
    *o++ = __fadd_ru(x, y);
    *o++ = __fadd_rd(x, y);
    *o++ = __fmul_rz(x, y);
    *o++ = __fmul_ru(x, y);
    *o++ = __fmul_rd(x, y);
    *o++ = __fmaf_rz(x, y, z);
    *o++ = __fmaf_ru(x, y, z);
    *o++ = __fmaf_rd(x, y, z);
    *o++ = __fdiv_rz(x, y);
    *o++ = __fdiv_ru(x, y);
    *o++ = __fdiv_rd(x, y);
    *o++ = __frcp_rn(x);
    *o++ = __frcp_ru(x);
    *o++ = __fsqrt_rn(x);
    *o++ = __fsqrt_rz(x);
    *o++ = __fsqrt_ru(x);
    *o++ = __fsqrt_rd(x);
    *o++ = __saturatef(x);
    *o++ = x < y ? 1.0f : 0.0f;
    *o++ = x <= y ? 1.0f : 0.0f;
    *o++ = x == y ? 1.0f : 0.0f;
    *o++ = x != y ? 1.0f : 0.0f;
    *o++ = !(x < y) ? 1.0f : 0.0f;
    *o++ = isnan(x) ? 1.0f : isinf(x) ? 2.0f : 0.0f;
}

extern "C" __global__ void double_ops(const double* a, const double* b, const double* c,
                                      double* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    double x = a[i], y = b[i], z = c[i];
    double* o = out + i * 32;
    *o++ = x + y;
    *o++ = x - y;
    *o++ = __dmul_rn(x, y);
    *o++ = x / y;
    *o++ = fma(x, y, z);
    *o++ = sqrt(x);
    *o++ = fmin(x, y);
    *o++ = fmax(x, y);
    *o++ = fabs(x);
    *o++ = floor(x);
    *o++ = ceil(x);
    *o++ = trunc(x);
    *o++ = rint(x);
    *o++ = copysign(x, y);
    *o++ = __dadd_rz(x, y);
    *o++ = __dadd_ru(x, y);
    *o++ = __dadd_rd(x, y);
    *o++ = __dmul_rz(x, y);
    *o++ = __dmul_ru(x, y);
    *o++ = __dmul_rd(x, y);
    *o++ = __fma_rz(x, y, z);
    *o++ = __fma_ru(x, y, z);
    *o++ = __fma_rd(x, y, z);
    *o++ = __ddiv_rz(x, y);
    *o++ = __ddiv_ru(x, y);
    *o++ = __ddiv_rd(x, y);
    *o++ = __drcp_rn(x);
    *o++ = __dsqrt_rz(x);
    *o++ = __dsqrt_ru(x);
    *o++ = __dsqrt_rd(x);
    *o++ = x < y ? 1.0 : x == y ? 2.0 : x > y ? 3.0 : 4.0;
    *o++ = isnan(x) ? 1.0 : isinf(x) ? 2.0 : 0.0;
}

// 128-bit integers are add.cc, addc and friends.
extern "C" __global__ void int128_ops(const unsigned long long* a, const unsigned long long* b,
                                      unsigned long long* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    unsigned long long r0, r1, s0, s1;
    asm("add.cc.u64 %0, %2, %4;\n\t"
        "addc.u64 %1, %3, %5;"
        : "=l"(r0), "=l"(r1) : "l"(a[2 * i]), "l"(a[2 * i + 1]), "l"(b[2 * i]), "l"(b[2 * i + 1]));
    asm("sub.cc.u64 %0, %2, %4;\n\t"
        "subc.u64 %1, %3, %5;"
        : "=l"(s0), "=l"(s1) : "l"(a[2 * i]), "l"(a[2 * i + 1]), "l"(b[2 * i]), "l"(b[2 * i + 1]));
    unsigned p0, p1, p2;
    unsigned x0 = (unsigned)a[2 * i], x1 = (unsigned)(a[2 * i] >> 32), y = (unsigned)b[2 * i];
    asm("{ .reg .u32 high;\n\t"
        "mul.lo.u32 %0, %3, %5;\n\t"
        "mul.hi.u32 high, %3, %5;\n\t"
        "mad.lo.cc.u32 %1, %4, %5, high;\n\t"
        "madc.hi.u32 %2, %4, %5, 0; }"
        : "=r"(p0), "=r"(p1), "=r"(p2) : "r"(x0), "r"(x1), "r"(y));
    unsigned long long* o = out + (size_t)i * 6;
    o[0] = r0; o[1] = r1; o[2] = s0; o[3] = s1;
    o[4] = (unsigned long long)p1 << 32 | p0; o[5] = p2;
}
