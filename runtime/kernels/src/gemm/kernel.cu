// gemm(const float* a, const float* b, float* c, u32 m, u32 n, u32 k)
//   c[m, n] = a[m, k] b[k, n], all row-major; k = 0 writes zeros.
//   grid: any (ceil(m / 64) * ceil(n / 64) blocks, one per tile, fill the device); block: 256;
//   shared: none beyond the 8.25 KiB that the kernel declares.
#include "tile.cuh"

KERNEL gemm(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c, u32 m,
            u32 n, u32 k) {
    auto a_at = [=](u64 row, u64 p) { return row < m && p < k ? a[row * k + p] : 0.0f; };
    auto b_column = [=](u64 column) {
        return [=](u64 p) { return column < n && p < k ? b[p * n + column] : 0.0f; };
    };
    auto c_column = [=](u64 column) {
        return [=](u64 row, float value) {
            if (row < m && column < n) c[row * n + column] = value;
        };
    };
    u64 across = ((u64)n + TILE - 1) / TILE;
    u64 tiles = ((u64)m + TILE - 1) / TILE * across;
    for (u64 tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        product_tile(tile / across * TILE, tile % across * TILE, k, a_at, b_column, c_column);
    }
}
