// Prediction: windows cut out of a strip of a scene, and their probabilities blended into it.

#include "common.cuh"

// The pixel that `index` shows when a side of `len` pixels is reflected at its end pixels, as often as needed: the same
// rule as on the CPU (`net::predict::strip`).
__device__ inline int mirrored(int index, int len) {
    if (index < len) {
        return index;
    }
    if (len == 1) {
        return 0;
    }
    const int period = 2 * (len - 1);
    const int within = index % period;
    return within < period - within ? within : period - within;
}

// Windows of height x width pixels whose left columns are `lefts`, from a strip of strip_height x strip_width pixels.
// Grid: x over a window's pixels, y the window.
template <class T>
__device__ void cut(const float* __restrict__ strip, const int* __restrict__ lefts, T* __restrict__ windows, int height,
                    int width, int strip_height, int strip_width, int bands) {
    const int left = lefts[blockIdx.y];
    const int pixels = height * width;
    T* __restrict__ window = windows + static_cast<Index>(blockIdx.y) * pixels * bands;
    for (int pixel = blockIdx.x * blockDim.x + threadIdx.x; pixel < pixels; pixel += gridDim.x * blockDim.x) {
        const Index row = mirrored(pixel / width, strip_height);
        const int column = mirrored(left + pixel % width, strip_width);
        for (int band = 0; band < bands; ++band) {
            window[static_cast<Index>(pixel) * bands + band] =
                from_float<T>(strip[(row * strip_width + column) * bands + band]);
        }
    }
}

extern "C" __global__ void cut_windows_f32(const float* strip, const int* lefts, float* windows, int height, int width,
                                           int strip_height, int strip_width, int bands) {
    cut(strip, lefts, windows, height, width, strip_height, strip_width, bands);
}

extern "C" __global__ void cut_windows_bf16(const float* strip, const int* lefts, bf16* windows, int height, int width,
                                            int strip_height, int strip_width, int bands) {
    cut(strip, lefts, windows, height, width, strip_height, strip_width, bands);
}

// sums[row, left + column, :] += w_row * w_column * window[row, column, :], of one window; only `rows` x `columns` pixels of
// it lie inside the scene. Windows are added one launch after another: sums have the order of the windows.
extern "C" __global__ void blend_window(float* __restrict__ sums, const float* __restrict__ window,
                                        const float* __restrict__ row_weights, const float* __restrict__ column_weights,
                                        int rows, int columns, int left, int window_width, int strip_width, int classes) {
    const Index count = static_cast<Index>(rows) * columns * classes;
    const Index step = static_cast<Index>(gridDim.x) * blockDim.x;
    for (Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
        const int class_ = static_cast<int>(i % classes);
        const Index pixel = i / classes;
        const Index row = pixel / columns;
        const int column = static_cast<int>(pixel % columns);
        const float weight = row_weights[row] * column_weights[column];
        const float p = window[(row * window_width + column) * classes + class_];
        // Rounded as on the CPU, where product and sum are two steps.
        float* sum = sums + (row * strip_width + left + column) * classes + class_;
        *sum = __fadd_rn(*sum, __fmul_rn(weight, p));
    }
}

// The class of the highest sum, the first of equals, for pixels that are valid; elsewhere 255, and all sums become 0.
extern "C" __global__ void finish_rows(float* __restrict__ sums, const unsigned char* __restrict__ valid,
                                       unsigned char* __restrict__ labels, long long pixels, int classes) {
    const Index step = static_cast<Index>(gridDim.x) * blockDim.x;
    for (Index pixel = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; pixel < pixels; pixel += step) {
        float* __restrict__ p = sums + pixel * classes;
        if (!valid[pixel]) {
            labels[pixel] = 255;
            for (int k = 0; k < classes; ++k) {
                p[k] = 0.0f;
            }
            continue;
        }
        int best = 0;
        for (int k = 1; k < classes; ++k) {
            best = p[k] > p[best] ? k : best;
        }
        labels[pixel] = static_cast<unsigned char>(best);
    }
}
