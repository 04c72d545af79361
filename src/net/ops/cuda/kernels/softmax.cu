// What is made of logits beside losses: probabilities, and the confusion matrix.

#include "tile.cuh"

// Probabilities, f32, of `pixels` rows of logits.
template <class T>
__device__ void softmax_rows(const T* x, float* y, Index pixels, int classes) {
    __shared__ float tile[TILE];
    const int most = tile_pixels(classes);
    for (Index first = (Index)blockIdx.x * most; first < pixels; first += (Index)gridDim.x * most) {
        const int count = (int)least((Index)most, pixels - first);
        load_tile(x + first * classes, tile, count, classes);
        __syncthreads();
        if (threadIdx.x < count) softmax(tile + threadIdx.x * row_stride(classes), classes);
        __syncthreads();
        store_tile(y + first * classes, tile, count, classes);
        __syncthreads();
    }
}

extern "C" __global__ void softmax_f32(const float* __restrict__ x, float* __restrict__ y, Index pixels, int classes) {
    softmax_rows(x, y, pixels, classes);
}
extern "C" __global__ void softmax_bf16(const bf16* __restrict__ x, float* __restrict__ y, Index pixels, int classes) {
    softmax_rows(x, y, pixels, classes);
}

// Entries of a confusion matrix that a block counts by itself.
const int COUNTERS = 4096;

// Adds to `counts` the pixels by truth (row) and class of the highest logit (column), the first of equals. Truths that are no
// class are left out.
template <class T>
__device__ void confusion(const T* logits, const unsigned char* truth, unsigned* counts, Index pixels, int classes) {
    __shared__ float tile[TILE];
    __shared__ unsigned counters[COUNTERS];
    const int most = tile_pixels(classes), entries = classes * classes;
    const bool few = entries <= COUNTERS;
    for (int i = threadIdx.x; few && i < entries; i += THREADS) counters[i] = 0;
    for (Index first = (Index)blockIdx.x * most; first < pixels; first += (Index)gridDim.x * most) {
        const int count = (int)least((Index)most, pixels - first);
        load_tile(logits + first * classes, tile, count, classes);
        __syncthreads();
        if (threadIdx.x < count && is_class(truth[first + threadIdx.x], classes)) {
            const float* row = tile + threadIdx.x * row_stride(classes);
            int best = 0;
            for (int c = 1; c < classes; ++c) best = row[c] > row[best] ? c : best;
            const int entry = truth[first + threadIdx.x] * classes + best;
            atomicAdd(few ? &counters[entry] : &counts[entry], 1u);
        }
        __syncthreads();
    }
    for (int i = threadIdx.x; few && i < entries; i += THREADS) {
        if (counters[i] > 0) atomicAdd(&counts[i], counters[i]);
    }
}

extern "C" __global__ void confusion_f32(
    const float* __restrict__ logits,
    const unsigned char* __restrict__ truth,
    unsigned* __restrict__ counts,
    Index pixels,
    int classes
) {
    confusion(logits, truth, counts, pixels, classes);
}
extern "C" __global__ void confusion_bf16(
    const bf16* __restrict__ logits,
    const unsigned char* __restrict__ truth,
    unsigned* __restrict__ counts,
    Index pixels,
    int classes
) {
    confusion(logits, truth, counts, pixels, classes);
}
