// What all kernels share. Images are channels-last, in f32 or bf16; arithmetic is in f32.
//
// Blocks have THREADS threads in one dimension. A sum over many values is made in two stages, without atomics: every block
// leaves a partial sum, and a second kernel adds those in a fixed order. What a block adds up depends on the sizes and the
// grid alone, so a result has the same bits in every run.
#pragma once

#include <cuda_bf16.h>

// A flat index: images may have more than 2^31 values.
typedef long long Index;

const int THREADS = 256;

typedef __nv_bfloat16 bf16;

// The bits of 16 or 8 bytes of values that are loaded at once.
struct __attribute__((may_alias)) alignas(16) Words4 {
    unsigned word[4];
};
struct __attribute__((may_alias)) alignas(8) Words2 {
    unsigned word[2];
};

template <class N>
__device__ inline N least(N a, N b) {
    return a < b ? a : b;
}

// f32 to the images' type and back.
__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(bf16 value) { return __bfloat162float(value); }

template <class T>
__device__ inline T from_float(float value);
template <>
__device__ inline float from_float<float>(float value) {
    return value;
}
template <>
__device__ inline bf16 from_float<bf16>(float value) {
    return __float2bfloat16(value);
}

// Two values as bf16; `low` comes first in memory.
__device__ inline unsigned rounded(float low, float high) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return (unsigned)__bfloat16_as_ushort(pair.x) | (unsigned)__bfloat16_as_ushort(pair.y) << 16;
}

// One value, or several that lie side by side and start at a multiple of their size.
template <class T>
__device__ inline void load(const T* from, float (&values)[1]) {
    values[0] = to_float(*from);
}
__device__ inline void load(const float* from, float (&values)[4]) {
    const Words4 words = *reinterpret_cast<const Words4*>(from);
    for (int i = 0; i < 4; ++i) values[i] = __uint_as_float(words.word[i]);
}
__device__ inline void load(const bf16* from, float (&values)[4]) {
    const Words2 words = *reinterpret_cast<const Words2*>(from);
    for (int i = 0; i < 4; ++i) values[i] = __uint_as_float(i % 2 ? words.word[i / 2] & 0xffff0000u : words.word[i / 2] << 16);
}
__device__ inline void load(const bf16* from, float (&values)[8]) {
    const Words4 words = *reinterpret_cast<const Words4*>(from);
    for (int i = 0; i < 8; ++i) values[i] = __uint_as_float(i % 2 ? words.word[i / 2] & 0xffff0000u : words.word[i / 2] << 16);
}

template <class T>
__device__ inline void store(T* to, const float (&values)[1]) {
    *to = from_float<T>(values[0]);
}
__device__ inline void store(float* to, const float (&values)[4]) {
    Words4 words;
    for (int i = 0; i < 4; ++i) words.word[i] = __float_as_uint(values[i]);
    *reinterpret_cast<Words4*>(to) = words;
}
__device__ inline void store(bf16* to, const float (&values)[4]) {
    Words2 words;
    for (int i = 0; i < 2; ++i) words.word[i] = rounded(values[2 * i], values[2 * i + 1]);
    *reinterpret_cast<Words2*>(to) = words;
}
__device__ inline void store(bf16* to, const float (&values)[8]) {
    Words4 words;
    for (int i = 0; i < 4; ++i) words.word[i] = rounded(values[2 * i], values[2 * i + 1]);
    *reinterpret_cast<Words4*>(to) = words;
}

// Values in 16 bytes: what a thread takes at a time where it can. Such values are called a pack.
template <class T>
struct Pack {
    static const int SIZE = 16 / sizeof(T);
};

__device__ inline bool aligned(const void* a) { return (size_t)a % 16 == 0; }
__device__ inline bool aligned(const void* a, const void* b) { return aligned(a) && aligned(b); }
__device__ inline bool aligned(const void* a, const void* b, const void* c) { return aligned(a, b) && aligned(c); }

// Quotient and remainder. Division of 64-bit numbers is slow, and most numbers are small.
__device__ inline Index divide(Index number, int by, int& rest) {
    if (number >> 32 == 0) {
        const unsigned quotient = (unsigned)number / (unsigned)by;
        rest = (int)((unsigned)number - quotient * (unsigned)by);
        return quotient;
    }
    const Index quotient = number / by;
    rest = (int)(number - quotient * by);
    return quotient;
}

// Number of this thread in the grid, and of all threads.
__device__ inline Index grid_thread() { return (Index)blockIdx.x * THREADS + threadIdx.x; }
__device__ inline Index grid_threads() { return (Index)gridDim.x * THREADS; }

// Sum over a block, in a fixed order; every thread gets it.
__device__ inline double block_sum(double value) {
    __shared__ double kept[THREADS];
    // The sum before this one has been read.
    __syncthreads();
    kept[threadIdx.x] = value;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) kept[threadIdx.x] += kept[threadIdx.x + half];
    }
    __syncthreads();
    return kept[0];
}
