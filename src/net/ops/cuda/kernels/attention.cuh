// What the kernels of attention share. A run of LANES threads has a pixel of a head and holds its channels in registers, V a
// thread; what it is compared with comes by tiles into shared memory. No weight is kept: the forward pass leaves the logarithm
// of a pixel's sum of exponentials, from which the way back makes the weights again (Dao et al. 2022, section 3.1).
#pragma once

#include "common.cuh"

// Threads of a block: few, so that the blocks of a small image are many.
const int ATTENDING = 64;
// Values of a tile.
const int TILE = 2048;

// Sizes of an attention; the same struct as `Sizes` of `attention.rs`.
struct Sizes {
    Index queries, keys, channels;
    float scale;
};

// A thread's part of a head of `depth` channels: four neighbours, which are loaded at once, then four behind those of the other
// threads of the run, whose loads thus lie in different banks.
template <int V, int LANES>
struct Lane {
    // From one pixel of a tile to the next: the head's channels, and zeros up to what the threads hold.
    static const int STRIDE = V * LANES;
    static const int PIXELS = TILE / STRIDE;
    // Pixels that a block has.
    static const int RUNS = ATTENDING / LANES;

    int depth, lane;
    // The image's and the head's first value of a tensor of so many pixels an image.
    Index channels;

    __device__ Lane(const Sizes& sizes, int heads)
        : depth((int)sizes.channels / heads), lane(threadIdx.x % LANES), channels(sizes.channels) {}

    __device__ int channel(int k) const { return (k / 4 * LANES + lane) * 4 + k % 4; }

    // First value of this block's head in an image of `pixels`.
    __device__ Index first(Index pixels) const { return blockIdx.z * pixels * channels + (Index)blockIdx.y * depth; }

    // The thread's channels of a pixel, whose first value `from` is.
    template <class T>
    __device__ void take(const T* from, float (&values)[V], float by) const {
        for (int k = 0; k < V; ++k) values[k] = channel(k) < depth ? by * to_float(from[channel(k)]) : 0.0f;
    }

    template <class T>
    __device__ void put(T* to, const float (&values)[V], float by) const {
        for (int k = 0; k < V; ++k) {
            if (channel(k) < depth) to[channel(k)] = from_float<T>(by * values[k]);
        }
    }

    // Sum over a run, in a fixed order; every thread of it gets it.
    __device__ static float total(float value) {
        for (int by = LANES / 2; by > 0; by /= 2) value += __shfl_xor_sync(0xffffffffu, value, by);
        return value;
    }

    // Product with a pixel of a tile.
    __device__ float dot(const float (&values)[V], const float* tile) const {
        // Four sums side by side: each would have to wait for itself.
        float sums[4] = {};
        for (int k = 0; k < V; ++k) sums[k % 4] = fmaf(values[k], tile[channel(k)], sums[k % 4]);
        return total((sums[0] + sums[1]) + (sums[2] + sums[3]));
    }

    // `sum += weight * tile`.
    __device__ void add(float (&sum)[V], float weight, const float* tile) const {
        for (int k = 0; k < V; ++k) sum[k] = fmaf(weight, tile[channel(k)], sum[k]);
    }

    // A head's values of `count` pixels into a tile; `from` is the first.
    template <class T>
    __device__ void load_tile(const T* from, float* tile, int count, float by) const {
        for (int i = threadIdx.x; i < count * STRIDE; i += ATTENDING) {
            const int pixel = i / STRIDE, c = i % STRIDE;
            tile[i] = c < depth ? by * to_float(from[pixel * channels + c]) : 0.0f;
        }
    }
};

// Kernels of one body for heads of up to 16, 32, 64 and 128 channels, in both types of images.
#define FOR_EVERY_DEPTH(KERNEL) \
    KERNEL(16, 16, 1, float, f32) \
    KERNEL(16, 16, 1, bf16, bf16) \
    KERNEL(32, 32, 1, float, f32) \
    KERNEL(32, 32, 1, bf16, bf16) \
    KERNEL(64, 32, 2, float, f32) \
    KERNEL(64, 32, 2, bf16, bf16) \
    KERNEL(128, 32, 4, float, f32) \
    KERNEL(128, 32, 4, bf16, bf16)
