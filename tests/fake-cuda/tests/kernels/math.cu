// The mathematical functions that compute kernels call: each is a long PTX sequence of NVRTC's.

extern "C" __global__ void float_math(const float* a, const float* b, float* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float x = a[i], y = b[i];
    float* o = out + i * 36;
    *o++ = expf(x);
    *o++ = exp2f(x);
    *o++ = exp10f(x);
    *o++ = expm1f(x);
    *o++ = logf(x);
    *o++ = log2f(x);
    *o++ = log10f(x);
    *o++ = log1pf(x);
    *o++ = sinf(x);
    *o++ = cosf(x);
    *o++ = tanf(x);
    *o++ = asinf(x);
    *o++ = acosf(x);
    *o++ = atanf(x);
    *o++ = atan2f(x, y);
    *o++ = sinhf(x);
    *o++ = coshf(x);
    *o++ = tanhf(x);
    *o++ = powf(x, y);
    *o++ = sqrtf(x);
    *o++ = rsqrtf(x);
    *o++ = cbrtf(x);
    *o++ = hypotf(x, y);
    *o++ = erff(x);
    *o++ = erfcf(x);
    *o++ = fmodf(x, y);
    *o++ = remainderf(x, y);
    *o++ = ldexpf(x, 3);
    *o++ = tgammaf(x);
    *o++ = lgammaf(x);
    float s, c;
    sincosf(y, &s, &c);
    *o++ = s;
    *o++ = c;
    *o++ = x / (1.0f + fabsf(x));
    *o++ = 1.0f / (1.0f + expf(-x));
    *o++ = 0.5f * x * (1.0f + erff(x * 0.70710678f));
    int exponent;
    *o++ = frexpf(x, &exponent) + exponent;
}

extern "C" __global__ void fast_math(const float* a, const float* b, float* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float x = a[i], y = b[i];
    float* o = out + i * 8;
    *o++ = __expf(x);
    *o++ = __logf(x);
    *o++ = __sinf(x);
    *o++ = __cosf(x);
    *o++ = __powf(x, y);
    *o++ = __fdividef(x, y);
    *o++ = __tanf(x);
    *o++ = __exp10f(x);
}

extern "C" __global__ void double_math(const double* a, const double* b, double* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    double x = a[i], y = b[i];
    double* o = out + i * 24;
    *o++ = exp(x);
    *o++ = exp2(x);
    *o++ = expm1(x);
    *o++ = log(x);
    *o++ = log2(x);
    *o++ = log10(x);
    *o++ = log1p(x);
    *o++ = sin(x);
    *o++ = cos(x);
    *o++ = tan(x);
    *o++ = asin(x);
    *o++ = acos(x);
    *o++ = atan(x);
    *o++ = atan2(x, y);
    *o++ = sinh(x);
    *o++ = cosh(x);
    *o++ = tanh(x);
    *o++ = pow(x, y);
    *o++ = rsqrt(x);
    *o++ = cbrt(x);
    *o++ = hypot(x, y);
    *o++ = erf(x);
    *o++ = fmod(x, y);
    *o++ = erfc(x);
}
