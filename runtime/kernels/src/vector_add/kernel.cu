// vector_add(const float* a, const float* b, float* c, u32 n)
//   c[i] = a[i] + b[i] for i < n.
//   grid: any (one block per 256 elements fills the device); block: 256; shared: none.
//   Indices are 64-bit: any n.
#include "common.cuh"

KERNEL vector_add(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c,
                  u32 n) {
    for (u64 i = grid_thread(); i < n; i += grid_threads()) c[i] = a[i] + b[i];
}
