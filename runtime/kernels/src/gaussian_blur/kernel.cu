// Separable Gaussian blur of an image u8[height, width, channels] in two launches.
//
// 1. gaussian_blur_rows(const u8* image, const float* weights, float* scratch, u32 height,
//                       u32 width, u32 channels, u32 radius)
//      scratch = the image blurred along its rows.
//      grid: any (height * ceil(width * channels / 256) blocks fill the device); block: 256;
//      dynamic shared: 4 * (256 + 2 * radius * channels) bytes, at most 7,168 for radius 192.
// 2. gaussian_blur_columns(const float* scratch, const float* weights, u8* output, u32 height,
//                          u32 width, u32 channels, u32 radius)
//      output = scratch blurred along its columns, rounded to nearest.
//      grid: any (one block per 256 values fills the device); block: 256; shared: none.
//
// weights[2 * radius + 1] come from the host. Edges are replicated: what lies outside has the
// value of the nearest pixel inside. Scratch: 4 * height * width * channels bytes.
#include "common.cuh"

KERNEL gaussian_blur_rows(const u8* __restrict__ image, const float* __restrict__ weights,
                          float* __restrict__ scratch, u32 height, u32 width, u32 channels,
                          u32 radius) {
    extern __shared__ float values[];
    u32 row_length = width * channels;
    u32 margin = radius * channels;
    u64 tiles_in_row = ((u64)row_length + BLOCK - 1) / BLOCK;
    for (u64 tile = blockIdx.x; tile < height * tiles_in_row; tile += gridDim.x) {
        const u8* row = image + tile / tiles_in_row * row_length;
        u32 first = (u32)(tile % tiles_in_row) * BLOCK;
        for (u32 i = threadIdx.x; i < BLOCK + 2 * margin; i += BLOCK) {
            // The value at `first + i - margin`, with its pixel moved inside the row.
            u32 channel = (first + i) % channels;
            int pixel = (int)((first + i) / channels) - (int)radius;
            pixel = min(max(pixel, 0), (int)width - 1);
            values[i] = row[(u32)pixel * channels + channel];
        }
        __syncthreads();
        if (first + threadIdx.x < row_length) {
            float sum = 0.0f;
            for (u32 tap = 0; tap <= 2 * radius; ++tap) {
                sum = fmaf(weights[tap], values[threadIdx.x + tap * channels], sum);
            }
            scratch[tile / tiles_in_row * row_length + first + threadIdx.x] = sum;
        }
        __syncthreads();  // before the next tile is loaded
    }
}

KERNEL gaussian_blur_columns(const float* __restrict__ scratch, const float* __restrict__ weights,
                             u8* __restrict__ output, u32 height, u32 width, u32 channels,
                             u32 radius) {
    u32 row_length = width * channels;
    u64 count = (u64)height * row_length;
    for (u64 i = grid_thread(); i < count; i += grid_threads()) {
        const float* column = scratch + i % row_length;
        int first = (int)(i / row_length) - (int)radius;
        float sum = 0.0f;
        for (u32 tap = 0; tap <= 2 * radius; ++tap) {
            int y = min(max(first + (int)tap, 0), (int)height - 1);
            sum = fmaf(weights[tap], column[(u64)y * row_length], sum);
        }
        output[i] = (u8)fminf(sum + 0.5f, 255.0f);
    }
}
