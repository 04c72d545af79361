// Lovász-softmax loss: keys to sort the errors of every class by, the loss and its slopes from the sorted keys, and the
// gradient. The formula stands in `lovasz.rs`.
//
// A key has the error in its upper half, so that large errors come first, then those that are no number: and the pixel and
// whether it is one of the class' own in the lower. Pixels without a label come last. There are fewer than 2^31 pixels.

#include "scan.cuh"
#include "tile.cuh"

typedef unsigned long long Key;

const Key UNLABELLED = ~0ull;
// Keys that a block takes at a time, and a thread of them.
const int KEYS = 8;
const int CHUNK = KEYS * THREADS;

__device__ inline Key key_of(float error, Index pixel, bool own) {
    const unsigned upper = 0x7fffffffu - (__float_as_uint(error) & 0x7fffffffu);
    return (Key)upper << 32 | (Key)pixel << 1 | (own ? 1 : 0);
}

__device__ inline float error_of(Key key) { return __uint_as_float(0x7fffffffu - (unsigned)(key >> 32)); }
__device__ inline Index pixel_of(Key key) { return (Index)(key >> 1 & 0x7fffffffu); }
__device__ inline bool is_own(Key key) { return key != UNLABELLED && (key & 1) != 0; }

// A row of keys for each of `some` classes from `first_class` on.
template <class T>
__device__ void lovasz_keys(
    const T* logits, const unsigned char* labels, Key* keys, Index pixels, int classes, int first_class, int some
) {
    __shared__ float tile[TILE];
    const int most = tile_pixels(classes);
    for (Index first = (Index)blockIdx.x * most; first < pixels; first += (Index)gridDim.x * most) {
        const int count = (int)least((Index)most, pixels - first);
        load_tile(logits + first * classes, tile, count, classes);
        __syncthreads();
        if (threadIdx.x < count) {
            float* row = tile + threadIdx.x * row_stride(classes);
            const Index pixel = first + threadIdx.x;
            const int label = labels[pixel];
            const bool labelled = is_class(label, classes);
            softmax(row, classes);
            for (int i = 0; i < some; ++i) {
                const int c = first_class + i;
                const float error = label == c ? 1.0f - row[c] : row[c];
                keys[i * pixels + pixel] = labelled ? key_of(error, pixel, label == c) : UNLABELLED;
            }
        }
        __syncthreads();
    }
}

extern "C" __global__ void lovasz_keys_f32(
    const float* __restrict__ logits,
    const unsigned char* __restrict__ labels,
    Key* __restrict__ keys,
    Index pixels,
    int classes,
    int first_class,
    int some
) {
    lovasz_keys(logits, labels, keys, pixels, classes, first_class, some);
}
extern "C" __global__ void lovasz_keys_bf16(
    const bf16* __restrict__ logits,
    const unsigned char* __restrict__ labels,
    Key* __restrict__ keys,
    Index pixels,
    int classes,
    int first_class,
    int some
) {
    lovasz_keys(logits, labels, keys, pixels, classes, first_class, some);
}

// For each row of sorted keys the class' own pixels in each chunk. A grid of (chunks, rows).
extern "C" __global__ void lovasz_own(const Key* __restrict__ keys, unsigned* __restrict__ own, Index pixels) {
    keys += blockIdx.y * pixels;
    const Index first = (Index)blockIdx.x * CHUNK, end = least(first + CHUNK, pixels);
    unsigned count = 0, total;
    for (Index i = first + threadIdx.x; i < end; i += THREADS) count += is_own(keys[i]);
    sum_before(count, total);
    if (threadIdx.x == 0) own[blockIdx.y * gridDim.x + blockIdx.x] = total;
}

// From the sorted keys of the classes from `first_class` on, and from how many of a class' own pixels lie before a chunk: a
// loss a chunk, and the slope along the class' probability at each pixel. A grid of (chunks, rows).
extern "C" __global__ void lovasz_steps(
    const Key* __restrict__ keys,
    const unsigned* __restrict__ own_before,
    const unsigned long long* __restrict__ counts,
    float* __restrict__ slopes,
    double* __restrict__ losses,
    Index pixels,
    int classes,
    int first_class
) {
    const int own_class = first_class + blockIdx.y;
    double present = 0.0;
    for (int c = threadIdx.x; c < classes; c += THREADS) present += counts[c] > 0;
    present = block_sum(present);
    const double count = (double)counts[own_class], share = 1.0 / present;
    keys += blockIdx.y * pixels, slopes += own_class * pixels;
    const Index first = (Index)blockIdx.x * CHUNK + threadIdx.x * KEYS;
    const int mine = (int)least((Index)KEYS, first < pixels ? pixels - first : (Index)0);
    Key key[KEYS];
    unsigned own = 0, total;
    for (int k = 0; k < KEYS; ++k) {
        key[k] = k < mine ? keys[first + k] : UNLABELLED;
        own += is_own(key[k]);
    }
    const unsigned before = own_before[blockIdx.y * gridDim.x + blockIdx.x] + sum_before(own, total);
    // Overlap of the class with its prediction, when more and more pixels are predicted falsely.
    double intersection = count - before, all = count + (double)(first - (Index)before), loss = 0.0;
    for (int k = 0; k < KEYS; ++k) {
        if (key[k] == UNLABELLED || count == 0.0) break;
        double step;
        if (is_own(key[k])) {
            intersection -= 1.0;
            step = share / all;
        } else {
            all += 1.0;
            step = share * (intersection / (all * (all - 1.0)));
        }
        loss += step * error_of(key[k]);
        slopes[pixel_of(key[k])] = (float)(is_own(key[k]) ? -step : step);
    }
    loss = block_sum(loss);
    if (threadIdx.x == 0) losses[(Index)own_class * gridDim.x + blockIdx.x] = loss;
}

// As the gradient of the Dice loss, with slopes of their own at every pixel. Those of a class that does not occur are not
// read.
template <class T>
__device__ void lovasz_gradient(
    const T* logits,
    const unsigned char* labels,
    const float* slopes,
    const unsigned long long* counts,
    T* gradient,
    Index pixels,
    int classes
) {
    __shared__ float tile[TILE];
    const int most = tile_pixels(classes);
    for (Index first = (Index)blockIdx.x * most; first < pixels; first += (Index)gridDim.x * most) {
        const int count = (int)least((Index)most, pixels - first);
        load_tile(logits + first * classes, tile, count, classes);
        __syncthreads();
        if (threadIdx.x < count) {
            float* row = tile + threadIdx.x * row_stride(classes);
            const Index pixel = first + threadIdx.x;
            if (is_class(labels[pixel], classes)) {
                softmax(row, classes);
                auto slope = [&](int c) { return counts[c] > 0 ? slopes[c * pixels + pixel] : 0.0f; };
                float mean = 0.0f;
                for (int c = 0; c < classes; ++c) mean += row[c] * slope(c);
                for (int c = 0; c < classes; ++c) row[c] *= slope(c) - mean;
            } else {
                fill_row(row, 0.0f, classes);
            }
        }
        __syncthreads();
        store_tile(gradient + first * classes, tile, count, classes);
        __syncthreads();
    }
}

extern "C" __global__ void lovasz_gradient_f32(
    const float* __restrict__ logits,
    const unsigned char* __restrict__ labels,
    const float* __restrict__ slopes,
    const unsigned long long* __restrict__ counts,
    float* __restrict__ gradient,
    Index pixels,
    int classes
) {
    lovasz_gradient(logits, labels, slopes, counts, gradient, pixels, classes);
}
extern "C" __global__ void lovasz_gradient_bf16(
    const bf16* __restrict__ logits,
    const unsigned char* __restrict__ labels,
    const float* __restrict__ slopes,
    const unsigned long long* __restrict__ counts,
    bf16* __restrict__ gradient,
    Index pixels,
    int classes
) {
    lovasz_gradient(logits, labels, slopes, counts, gradient, pixels, classes);
}
