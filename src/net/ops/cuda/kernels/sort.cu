// A stable sort of rows of 64-bit keys by their upper 32 bits: eight passes over four bits each. In a pass every chunk of a
// row counts its digits, the counts of a row become places, and every chunk puts its keys to their places.
//
// Grids are (chunks of a row, rows).

#include "scan.cuh"

typedef unsigned long long Key;

const int DIGITS = 16;
// Keys that a thread takes, one after the other.
const int KEYS = 8;
const int CHUNK = KEYS * THREADS;

__device__ inline int digit_of(Key key, int shift) { return (int)(key >> shift) & (DIGITS - 1); }

// `places`: for each row, for each digit, a count a chunk.
extern "C" __global__ void sort_count(const Key* __restrict__ keys, unsigned* __restrict__ places, Index length, int shift) {
    __shared__ unsigned counts[DIGITS];
    if (threadIdx.x < DIGITS) counts[threadIdx.x] = 0;
    __syncthreads();
    const Index first = (Index)blockIdx.x * CHUNK, end = least(first + CHUNK, length);
    keys += blockIdx.y * length;
    for (Index i = first + threadIdx.x; i < end; i += THREADS) atomicAdd(&counts[digit_of(keys[i], shift)], 1u);
    __syncthreads();
    if (threadIdx.x < DIGITS) {
        places[((Index)blockIdx.y * DIGITS + threadIdx.x) * gridDim.x + blockIdx.x] = counts[threadIdx.x];
    }
}

// Replaces the counts of a row by the sums of those before them. One block a row of `length` counts.
extern "C" __global__ void sum_counts(unsigned* __restrict__ counts, Index length) {
    counts += blockIdx.x * length;
    const Index step = (length + THREADS - 1) / THREADS;
    const Index first = least(threadIdx.x * step, length), end = least(first + step, length);
    unsigned sum = 0, total;
    for (Index i = first; i < end; ++i) sum += counts[i];
    unsigned before = sum_before(sum, total);
    for (Index i = first; i < end; ++i) {
        const unsigned count = counts[i];
        counts[i] = before;
        before += count;
    }
}

// Puts the keys of a chunk, in their order, to the places of their digits.
extern "C" __global__ void sort_place(
    const Key* __restrict__ keys, Key* __restrict__ sorted, const unsigned* __restrict__ places, Index length, int shift
) {
    // How often a digit occurs before a thread's keys; a gap after each 16 counts, so that threads that go over runs of 16
    // meet different banks.
    __shared__ unsigned counts[DIGITS * THREADS / 16 * 17];
    __shared__ unsigned base[DIGITS];
    auto at = [](int digit, int thread) {
        const int i = digit * THREADS + thread;
        return i + i / 16;
    };
    const Index first = (Index)blockIdx.x * CHUNK + threadIdx.x * KEYS;
    const int mine = (int)least((Index)KEYS, first < length ? length - first : (Index)0);
    keys += blockIdx.y * length, sorted += blockIdx.y * length;
    for (int digit = 0; digit < DIGITS; ++digit) counts[at(digit, threadIdx.x)] = 0;
    Key key[KEYS];
    for (int k = 0; k < KEYS; ++k) {
        if (k < mine) key[k] = keys[first + k];
    }
    for (int k = 0; k < KEYS; ++k) {
        if (k < mine) ++counts[at(digit_of(key[k], shift), threadIdx.x)];
    }
    __syncthreads();
    // Running sums over digits, and over threads within a digit.
    unsigned* run = counts + threadIdx.x * 17;
    unsigned sum = 0, total;
    for (int i = 0; i < 16; ++i) sum += run[i];
    unsigned before = sum_before(sum, total);
    for (int i = 0; i < 16; ++i) {
        const unsigned count = run[i];
        run[i] = before;
        before += count;
    }
    __syncthreads();
    if (threadIdx.x < DIGITS) {
        // Where the chunk's keys with this digit start in the row, less where they start in the chunk.
        const Index place = ((Index)blockIdx.y * DIGITS + threadIdx.x) * gridDim.x + blockIdx.x;
        base[threadIdx.x] = places[place] - counts[at(threadIdx.x, 0)];
    }
    __syncthreads();
    for (int k = 0; k < KEYS; ++k) {
        if (k >= mine) break;
        const int digit = digit_of(key[k], shift);
        sorted[base[digit] + counts[at(digit, threadIdx.x)]++] = key[k];
    }
}
