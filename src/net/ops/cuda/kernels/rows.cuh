// Work on rows of channels: a thread keeps its channels, whose parameters and sums it holds in registers, and goes down
// the rows. Neighbours in a row are neighbours in memory.
//
// Grids are (blocks over the rows, blocks over the slices of channels, images).
#pragma once

#include "common.cuh"

// Packs of channels that a block takes at a time.
const int SLICE = 64;

struct Range {
    Index first, end;
};

// The rows of block `block` of `blocks`; those after the last row have none.
__device__ inline Range share(Index rows, int blocks, int block) {
    const Index step = (rows + blocks - 1) / blocks;
    const Index first = least(block * step, rows);
    return {first, least(first + step, rows)};
}

// A thread's place in a block that lies over the packs of a slice and over `lines` rows at a time.
struct Place {
    int packs, lines;
    // First of the thread's channels.
    int channel;
    int line;
    // A few threads may be left over.
    bool active;
};

template <int V>
__device__ inline Place place(int channels, int slice) {
    Place p;
    p.packs = least(SLICE, channels / V - slice * SLICE);
    p.lines = THREADS / p.packs;
    p.line = threadIdx.x / p.packs;
    p.channel = (slice * SLICE + threadIdx.x - p.line * p.packs) * V;
    p.active = p.line < p.lines;
    return p;
}

// Whether rows of so many values at aligned addresses can be taken by packs.
template <class T>
__device__ inline bool by_packs(int channels) {
    return channels % Pack<T>::SIZE == 0;
}

template <int V>
__device__ inline void load_parameters(const float* from, float (&values)[V]) {
    if (V % 4 == 0 && aligned(from)) {
        for (int k = 0; k < V; k += 4) {
            float four[4];
            load(from + k, four);
            for (int i = 0; i < 4; ++i) values[k + i] = four[i];
        }
    } else {
        for (int k = 0; k < V; ++k) values[k] = from[k];
    }
}

// Adds up the `values` of all lines; line 0 gets the sums.
template <int V>
__device__ inline void fold(float (&values)[V], const Place& p) {
    __shared__ float kept[V][THREADS];
    const int me = threadIdx.x;
    // The sums before these have been read.
    __syncthreads();
    for (int k = 0; k < V; ++k) kept[k][me] = values[k];
    for (int span = 1; span < p.lines; span *= 2) {
        __syncthreads();
        if (p.active && p.line % (2 * span) == 0 && p.line + span < p.lines) {
            for (int k = 0; k < V; ++k) kept[k][me] += kept[k][me + span * p.packs];
        }
    }
    for (int k = 0; k < V; ++k) values[k] = kept[k][me];
}

// Puts a block's sums to those of the other blocks: `partials` has a row of blocks a channel.
template <int V>
__device__ inline void store_partials(float* partials, const float (&values)[V], const Place& p) {
    if (p.line != 0) return;
    for (int k = 0; k < V; ++k) partials[(Index)(p.channel + k) * gridDim.x + blockIdx.x] = values[k];
}

// Sum of one channel's partial sums; every thread of the block gets it.
__device__ inline double sum_partials(const float* partials, int blocks) {
    double sum = 0.0;
    for (int b = threadIdx.x; b < blocks; b += THREADS) sum += partials[b];
    return block_sum(sum);
}

// What the rectifier, where there is one, does not let a value fall below: 0, else minus infinity.
__device__ inline float floor_of(int relu) { return relu ? 0.0f : __uint_as_float(0xff800000u); }
