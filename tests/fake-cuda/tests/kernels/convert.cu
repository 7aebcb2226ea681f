// Conversions between every pair of types that a kernel uses, with each rounding.

extern "C" __global__ void from_float(const float* a, long long* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float x = a[i];
    long long* o = out + (size_t)i * 24;
    *o++ = (int)x;
    *o++ = (unsigned)x;
    *o++ = (long long)x;
    *o++ = (long long)(unsigned long long)x;
    *o++ = (short)x;
    *o++ = (unsigned short)x;
    *o++ = (signed char)x;
    *o++ = (unsigned char)x;
    *o++ = __float2int_rn(x);
    *o++ = __float2int_ru(x);
    *o++ = __float2int_rd(x);
    *o++ = __float2uint_rn(x);
    *o++ = __float2ll_rn(x);
    *o++ = __float2ll_ru(x);
    *o++ = (long long)__float2ull_rd(x);
    *o++ = __float_as_int(x);
    *o++ = __double_as_longlong((double)x);
    *o++ = lrintf(x);
    *o++ = llroundf(x);
    *o++ = x != 0.0f;
    *o++ = (long long)__float_as_uint(roundf(x));
    *o++ = 0;
    *o++ = 0;
    *o++ = 0;
}

extern "C" __global__ void from_double(const double* a, long long* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    double x = a[i];
    long long* o = out + (size_t)i * 16;
    *o++ = (int)x;
    *o++ = (unsigned)x;
    *o++ = (long long)x;
    *o++ = (long long)(unsigned long long)x;
    *o++ = (short)x;
    *o++ = (unsigned char)x;
    *o++ = __double2int_rn(x);
    *o++ = __double2int_ru(x);
    *o++ = __double2ll_rd(x);
    *o++ = __float_as_uint((float)x);
    *o++ = __float_as_uint(__double2float_rz(x));
    *o++ = __float_as_uint(__double2float_ru(x));
    *o++ = __float_as_uint(__double2float_rd(x));
    *o++ = __double2hiint(x);
    *o++ = __double2loint(x);
    *o++ = __double_as_longlong(__hiloint2double(__double2loint(x), __double2hiint(x)));
}

extern "C" __global__ void from_long(const long long* a, double* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    long long x = a[i];
    double* o = out + i * 24;
    *o++ = (float)(int)x;
    *o++ = (float)(unsigned)x;
    *o++ = (float)x;
    *o++ = (float)(unsigned long long)x;
    *o++ = (double)(int)x;
    *o++ = (double)(unsigned)x;
    *o++ = (double)x;
    *o++ = (double)(unsigned long long)x;
    *o++ = __ll2float_rz(x);
    *o++ = __ll2float_ru(x);
    *o++ = __ll2float_rd(x);
    *o++ = __ll2double_rz(x);
    *o++ = __ll2double_ru(x);
    *o++ = __int2float_rz((int)x);
    *o++ = __uint2float_ru((unsigned)x);
    *o++ = (float)(short)x;
    *o++ = (float)(unsigned char)x;
    *o++ = (double)(signed char)x;
    *o++ = (double)(int)(short)x;
    *o++ = (double)(int)(unsigned short)x;
    *o++ = (double)(long long)(signed char)x;
    *o++ = (double)(long long)(int)x;
    *o++ = (double)(unsigned long long)(unsigned)x;
    *o++ = x ? 1.0 : 0.0;
}

// IEEE half precision through the two conversions that every target has.
extern "C" __global__ void halves(const float* a, unsigned short* half, float* back, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    unsigned short h;
    asm("{ cvt.rn.f16.f32 %0, %1; }" : "=h"(h) : "f"(a[i]));
    half[i] = h;
    float f;
    asm("{ .reg .b16 t; mov.b16 t, %1; cvt.f32.f16 %0, t; }" : "=f"(f) : "h"(h));
    back[i] = f;
}
