// sobel(const u8* image, u8* output, u32 height, u32 width, u32 channels)
//   output[height, width] = the gradient's magnitude in the luma of image[height, width, channels]
//   (channels 1, 3 or 4; the fourth is ignored), rounded to nearest, at most 255; edges are
//   replicated. All in integers: host and device give the same bytes.
//   grid: any (ceil(width / 32) * ceil(height / 8) blocks, one per tile, fill the device);
//   block: 256; shared: none beyond the 1.3 KiB that the kernel declares.
#include "common.cuh"

enum : u32 {
    TILE_WIDTH = 32,
    TILE_HEIGHT = BLOCK / TILE_WIDTH,
};

// Rec. 601 luma in thousandths of a grey level.
__device__ int luma(const u8* pixel, u32 channels) {
    return channels == 1 ? 1000 * pixel[0] : 299 * pixel[0] + 587 * pixel[1] + 114 * pixel[2];
}

__device__ u64 squared(u32 value) {
    return (u64)value * value;
}

// sqrt(square) / 1000, rounded to nearest, at most 255.
__device__ u8 grey_level(u64 square) {
    if (square >= squared(254500)) return 255;
    // Off by one at most, and only beside the middle of two levels, which integers then decide.
    u32 level = (u32)(sqrtf((float)square) * 0.001f + 0.5f);
    if (level > 0 && square < squared(1000 * level - 500)) return level - 1;
    if (square >= squared(1000 * level + 500)) return level + 1;
    return level;
}

KERNEL sobel(const u8* __restrict__ image, u8* __restrict__ output, u32 height, u32 width,
             u32 channels) {
    // The tile and one pixel around it.
    __shared__ int values[TILE_HEIGHT + 2][TILE_WIDTH + 2];
    u64 across = ((u64)width + TILE_WIDTH - 1) / TILE_WIDTH;
    u64 tiles = ((u64)height + TILE_HEIGHT - 1) / TILE_HEIGHT * across;
    for (u64 tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        u32 left = (u32)(tile % across) * TILE_WIDTH;
        u32 top = (u32)(tile / across) * TILE_HEIGHT;
        for (u32 i = threadIdx.x; i < (TILE_HEIGHT + 2) * (TILE_WIDTH + 2); i += BLOCK) {
            u32 row = i / (TILE_WIDTH + 2);
            u32 column = i % (TILE_WIDTH + 2);
            u32 y = min(max(top + row, 1u) - 1, height - 1);
            u32 x = min(max(left + column, 1u) - 1, width - 1);
            values[row][column] = luma(image + ((u64)y * width + x) * channels, channels);
        }
        __syncthreads();
        u32 row = threadIdx.x / TILE_WIDTH;
        u32 column = threadIdx.x % TILE_WIDTH;
        const int* above = &values[row][column];
        const int* level = &values[row + 1][column];
        const int* below = &values[row + 2][column];
        long long across_x =
            above[2] - above[0] + 2 * (level[2] - level[0]) + below[2] - below[0];
        long long across_y =
            below[0] - above[0] + 2 * (below[1] - above[1]) + below[2] - above[2];
        if (top + row < height && left + column < width) {
            output[(u64)(top + row) * width + left + column] =
                grey_level((u64)(across_x * across_x + across_y * across_y));
        }
        __syncthreads();  // before the next tile is loaded
    }
}
