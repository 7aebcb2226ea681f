// conv2d(const float* input, const float* weight, float* output, u32 batch, u32 c_in, u32 height,
//        u32 width, u32 c_out, u32 kernel_height, u32 kernel_width, u32 stride, u32 padding,
//        u32 out_height, u32 out_width)
//   output[batch, c_out, out_height, out_width] = cross-correlation of input[batch, c_in, height,
//   width] with weight[c_out, c_in, kernel_height, kernel_width]; zeros outside the input.
//   out_* = (extent + 2 * padding - kernel_*) / stride + 1, computed and checked by the host.
//   grid: any (ceil(c_out / 64) * ceil(batch * out_height * out_width / 64) blocks, one per tile,
//   fill the device); block: 256; shared: none beyond the 8.25 KiB that the kernel declares.
//   Scratch: none. Below 2^31 must be: c_in * kernel_height * kernel_width, height and width
//   plus 2 * padding, and batch * out_height * out_width. Indices into arrays are 64-bit.
//
// An implicit matrix product (Chetlur et al., "cuDNN: Efficient primitives for deep learning",
// 2014): weight[c_out, taps] times the matrix of patches[taps, pixels], of which each slab is
// gathered from the input when it is needed and never stored.
#include "tile.cuh"

struct Shape {
    u32 c_in, height, width, c_out, kernel_height, kernel_width, stride, padding, out_width;
    u32 taps;    // of one output value
    u32 plane;   // output values of one channel of one image
    u32 pixels;  // those of all images
};

// A column of the matrix of patches: the inputs under the kernel for one output pixel.
struct Patch {
    const float* image;
    Shape shape;
    u32 x, y;  // of the first tap; to the left of or above the input they wrap round
    bool inside;

    __device__ Patch(const float* input, const Shape& shape, u64 pixel)
        : shape(shape), inside(pixel < shape.pixels) {
        u32 in_plane = (u32)pixel % shape.plane;
        image = input + (u64)((u32)pixel / shape.plane) * shape.c_in * shape.height * shape.width;
        x = in_plane % shape.out_width * shape.stride - shape.padding;
        y = in_plane / shape.out_width * shape.stride - shape.padding;
    }

    __device__ float operator()(u64 tap) const {
        u32 row = (u32)tap / shape.kernel_width;
        u32 channel = row / shape.kernel_height;
        u32 tap_x = x + (u32)tap % shape.kernel_width;
        u32 tap_y = y + row % shape.kernel_height;
        // What wrapped round is outside too.
        if (!inside || tap >= shape.taps || tap_x >= shape.width || tap_y >= shape.height) {
            return 0.0f;
        }
        return image[((u64)channel * shape.height + tap_y) * shape.width + tap_x];
    }
};

KERNEL conv2d(const float* __restrict__ input, const float* __restrict__ weight,
              float* __restrict__ output, u32 batch, u32 c_in, u32 height, u32 width, u32 c_out,
              u32 kernel_height, u32 kernel_width, u32 stride, u32 padding, u32 out_height,
              u32 out_width) {
    u32 plane = out_height * out_width;
    Shape shape = {c_in, height, width, c_out, kernel_height, kernel_width, stride, padding,
                   out_width, c_in * kernel_height * kernel_width, plane, batch * plane};
    auto weight_at = [=](u64 channel, u64 tap) {
        bool inside = channel < shape.c_out && tap < shape.taps;
        return inside ? weight[channel * shape.taps + tap] : 0.0f;
    };
    auto patch = [=](u64 pixel) { return Patch(input, shape, pixel); };
    auto output_column = [=](u64 pixel) {
        u64 image = (u32)pixel / shape.plane;
        u64 first = image * shape.c_out * shape.plane + (u32)pixel % shape.plane;
        return [=](u64 channel, float value) {
            if (channel < shape.c_out && pixel < shape.pixels) {
                output[first + channel * shape.plane] = value;
            }
        };
    };
    u64 across = ((u64)shape.pixels + TILE - 1) / TILE;
    u64 tiles = ((u64)c_out + TILE - 1) / TILE * across;
    for (u64 tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        product_tile(tile / across * TILE, tile % across * TILE, shape.taps, weight_at, patch,
                     output_column);
    }
}
