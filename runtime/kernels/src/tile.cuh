// One 64 x 64 tile of a matrix product by one block: operands go through shared memory in slabs of
// DEPTH, and each thread keeps a 4 x 4 part of the result in registers (Volkov and Demmel,
// "Benchmarking GPUs to tune dense linear algebra", 2008).
#pragma once
#include "common.cuh"

enum : u32 {
    TILE = 64,
    DEPTH = 16,
    PART = 4,
    SIDE = TILE / PART,  // threads along each side of the tile
};
static_assert(SIDE * SIDE == BLOCK, "one 4 x 4 part for each thread");

// Matrices are given as functions, so that they need not exist in memory:
// - `a(row, p)` is an element of the left one, 0 outside it;
// - `b_column(column)` is a function of p, a column of the right one, 0 outside it;
// - `output_column(column)` is a function of (row, value) that writes, and ignores what is outside.
// All threads of the block must take part.
template <class A, class BColumn, class OutputColumn>
__device__ void product_tile(u64 first_row, u64 first_column, u32 depth, A a, BColumn b_column,
                             OutputColumn output_column) {
    // A is kept transposed, so that a thread reads its 4 rows as one 16-byte word; the padding
    // spreads the transposing stores over the banks and keeps those words aligned.
    __shared__ __align__(16) float a_slab[DEPTH][TILE + PART];
    __shared__ __align__(16) float b_slab[DEPTH][TILE];
    u32 row = threadIdx.x / SIDE * PART;
    u32 column = threadIdx.x % SIDE * PART;
    float part[PART][PART] = {};
    // Which elements this thread loads: always the same column of B and the same offset in A's.
    u32 p_of_a = threadIdx.x % DEPTH;
    u32 column_of_b = threadIdx.x % TILE;
    auto b = b_column(first_column + column_of_b);

    for (u64 slab = 0; slab < depth; slab += DEPTH) {
        for (u32 i = threadIdx.x / DEPTH; i < TILE; i += BLOCK / DEPTH) {
            a_slab[p_of_a][i] = a(first_row + i, slab + p_of_a);
        }
        for (u32 p = threadIdx.x / TILE; p < DEPTH; p += BLOCK / TILE) {
            b_slab[p][column_of_b] = b(slab + p);
        }
        __syncthreads();
        for (u32 p = 0; p < DEPTH; ++p) {
            float4 rows = *(const float4*)&a_slab[p][row];
            float4 columns = *(const float4*)&b_slab[p][column];
            float left[PART] = {rows.x, rows.y, rows.z, rows.w};
            float right[PART] = {columns.x, columns.y, columns.z, columns.w};
            for (u32 i = 0; i < PART; ++i) {
                for (u32 j = 0; j < PART; ++j) part[i][j] = fmaf(left[i], right[j], part[i][j]);
            }
        }
        __syncthreads();  // before the next slab is loaded
    }
    for (u32 j = 0; j < PART; ++j) {
        auto output = output_column(first_column + column + j);
        for (u32 i = 0; i < PART; ++i) output(first_row + row + i, part[i][j]);
    }
}
