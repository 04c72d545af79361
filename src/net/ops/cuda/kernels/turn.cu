// Images turned by the symmetries of the square.

#include "common.cuh"

// Images of height x width pixels before they are turned. `symmetry`: bit 0 mirrors left-right, bit 1 top-bottom, bit 2 then
// transposes; the same rule as `net::augment::Symmetry`. `count` values in all.
template <class T>
__device__ void turned(const T* __restrict__ from, T* __restrict__ into, Index count, int height, int width, int channels,
                       int symmetry, float scale) {
    const int out_height = symmetry & 4 ? width : height;
    const int out_width = symmetry & 4 ? height : width;
    for (Index i = grid_thread(); i < count; i += grid_threads()) {
        int channel, row, column;
        Index image = divide(i, channels, channel);
        image = divide(image, out_width, column);
        image = divide(image, out_height, row);
        if (symmetry & 4) {
            const int other = row;
            row = column;
            column = other;
        }
        row = symmetry & 2 ? height - 1 - row : row;
        column = symmetry & 1 ? width - 1 - column : column;
        into[i] = from_float<T>(scale * to_float(from[((image * height + row) * width + column) * channels + channel]));
    }
}

extern "C" __global__ void turn_f32(const float* from, float* into, Index count, int height, int width, int channels,
                                    int symmetry, float scale) {
    turned(from, into, count, height, width, channels, symmetry, scale);
}

extern "C" __global__ void turn_bf16(const bf16* from, bf16* into, Index count, int height, int width, int channels,
                                     int symmetry, float scale) {
    turned(from, into, count, height, width, channels, symmetry, scale);
}
