// Pixels with a row of one logit a class. A block takes a tile of them into shared memory, so that memory is read and
// written by neighbours side by side; then a thread has a pixel.
#pragma once

#include "common.cuh"

// Values that a tile holds.
const int TILE = 6144;
// No label; the same as `net::IGNORE`.
const int IGNORE = 255;

// Values from one pixel's row of a tile to the next: odd, so that the threads' rows start in different banks.
__device__ inline int row_stride(int classes) { return classes | 1; }

// Pixels that a tile holds; the host sees to it that it is one at least.
__device__ inline int tile_pixels(int classes) { return least(THREADS, TILE / row_stride(classes)); }

// A thread's values of a tile, THREADS apart, by pixel and class.
struct Walk {
    int pixel, column, pixels, columns, classes;

    __device__ explicit Walk(int classes)
        : pixel(threadIdx.x / classes),
          column(threadIdx.x % classes),
          pixels(THREADS / classes),
          columns(THREADS % classes),
          classes(classes) {}

    // Where the value lies in a tile.
    __device__ int at() const { return pixel * row_stride(classes) + column; }

    __device__ void next() {
        pixel += pixels;
        column += columns;
        if (column >= classes) {
            column -= classes;
            ++pixel;
        }
    }
};

// The rows of `pixels` pixels into a tile.
template <class T>
__device__ inline void load_tile(const T* rows, float* tile, int pixels, int classes) {
    Walk walk(classes);
#pragma unroll 4
    for (int i = threadIdx.x; i < pixels * classes; i += THREADS) {
        tile[walk.at()] = to_float(rows[i]);
        walk.next();
    }
}

// A tile's rows to their place.
template <class T>
__device__ inline void store_tile(T* rows, const float* tile, int pixels, int classes) {
    Walk walk(classes);
#pragma unroll 4
    for (int i = threadIdx.x; i < pixels * classes; i += THREADS) {
        rows[i] = from_float<T>(tile[walk.at()]);
        walk.next();
    }
}

// Highest of a pixel's logits.
__device__ inline float highest(const float* row, int classes) {
    float max = row[0];
    for (int c = 1; c < classes; ++c) max = row[c] > max ? row[c] : max;
    return max;
}

// Puts `exp(logit - max)` in the logits' place and gives their sum.
__device__ inline float exponentiate(float* row, float max, int classes) {
    float sum = 0.0f;
    for (int c = 0; c < classes; ++c) {
        row[c] = expf(row[c] - max);
        sum += row[c];
    }
    return sum;
}

// Puts a pixel's probabilities in the place of its logits.
__device__ inline void softmax(float* row, int classes) {
    const float sum = exponentiate(row, highest(row, classes), classes);
    for (int c = 0; c < classes; ++c) row[c] /= sum;
}

__device__ inline void fill_row(float* row, float value, int classes) {
    for (int c = 0; c < classes; ++c) row[c] = value;
}

// Where the labels stand in a block's work.
__device__ inline bool is_class(int label, int classes) { return label < classes && label != IGNORE; }

// The f64 that is no number.
__device__ inline double not_a_number() { return __longlong_as_double(0x7ff8000000000000LL); }

// Losses of pixels and their gradients in one pass. `loss_of(row, label, classes)` gives the loss of a pixel whose label is a
// class, and puts its gradient in the place of its logits. `partials` gets a sum of losses a block; `gradient`, where it is
// asked for, the gradients. Without a labelled pixel of a class with weight (`norm` 0) both are 0.
template <class T, class Loss>
__device__ void pixel_losses(
    const Loss& loss_of,
    const T* logits,
    const unsigned char* labels,
    const double* norm,
    double* partials,
    T* gradient,
    Index pixels,
    int classes
) {
    __shared__ float tile[TILE];
    const bool live = *norm > 0.0;
    const int most = tile_pixels(classes);
    double loss = 0.0;
    for (Index first = (Index)blockIdx.x * most; first < pixels; first += (Index)gridDim.x * most) {
        const int count = (int)least((Index)most, pixels - first);
        load_tile(logits + first * classes, tile, count, classes);
        __syncthreads();
        if (threadIdx.x < count) {
            float* row = tile + threadIdx.x * row_stride(classes);
            const int label = labels[first + threadIdx.x];
            if (live && is_class(label, classes)) {
                loss += loss_of(row, label, classes);
            } else {
                fill_row(row, 0.0f, classes);
            }
        }
        __syncthreads();
        if (gradient) store_tile(gradient + first * classes, tile, count, classes);
        __syncthreads();
    }
    loss = block_sum(loss);
    if (threadIdx.x == 0) partials[blockIdx.x] = loss;
}
