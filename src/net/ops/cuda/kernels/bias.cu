// A bias a channel, and its gradient.

#include "rows.cuh"

template <class T, int V>
__device__ void add_bias_as(T* y, const float* bias, Index rows, int channels, float floor) {
    const int ROWS = 2;
    const Range range = share(rows, gridDim.x, blockIdx.x);
    for (int slice = blockIdx.y; slice * SLICE * V < channels; slice += gridDim.y) {
        const Place p = place<V>(channels, slice);
        if (!p.active) continue;
        float b[V];
        load_parameters(bias + p.channel, b);
        for (Index row = range.first + p.line; row < range.end; row += ROWS * p.lines) {
            float values[ROWS][V];
            for (int r = 0; r < ROWS; ++r) {
                const Index at = row + r * p.lines;
                if (at < range.end) load(y + at * channels + p.channel, values[r]);
            }
            for (int r = 0; r < ROWS; ++r) {
                const Index at = row + r * p.lines;
                if (at >= range.end) continue;
                for (int k = 0; k < V; ++k) {
                    const float v = values[r][k] + b[k];
                    // Not `fmaxf`: a NaN must come through.
                    values[r][k] = v <= floor ? floor : v;
                }
                store(y + at * channels + p.channel, values[r]);
            }
        }
    }
}

// `y += bias` in place, rectified where asked.
template <class T>
__device__ void add_bias(T* y, const float* bias, Index rows, int channels, int relu) {
    if (by_packs<T>(channels) && aligned(y)) {
        add_bias_as<T, Pack<T>::SIZE>(y, bias, rows, channels, floor_of(relu));
    } else {
        add_bias_as<T, 1>(y, bias, rows, channels, floor_of(relu));
    }
}

extern "C" __global__ void add_bias_f32(
    float* __restrict__ y, const float* __restrict__ bias, Index rows, int channels, int relu
) {
    add_bias(y, bias, rows, channels, relu);
}
extern "C" __global__ void add_bias_bf16(bf16* __restrict__ y, const float* __restrict__ bias, Index rows, int channels, int relu) {
    add_bias(y, bias, rows, channels, relu);
}

template <class T, int V>
__device__ void column_sums_as(const T* x, float* partials, Index rows, int channels) {
    const int ROWS = 4;
    const Range range = share(rows, gridDim.x, blockIdx.x);
    for (int slice = blockIdx.y; slice * SLICE * V < channels; slice += gridDim.y) {
        const Place p = place<V>(channels, slice);
        float sum[V] = {};
        for (Index row = range.first + p.line; p.active && row < range.end; row += ROWS * p.lines) {
            float values[ROWS][V] = {};
            for (int r = 0; r < ROWS; ++r) {
                const Index at = row + r * p.lines;
                if (at < range.end) load(x + at * channels + p.channel, values[r]);
            }
            for (int k = 0; k < V; ++k) {
                for (int r = 0; r < ROWS; ++r) sum[k] += values[r][k];
            }
        }
        fold(sum, p);
        store_partials(partials, sum, p);
    }
}

// Sums over the rows: `partials` gets a row of the blocks' sums a channel.
template <class T>
__device__ void column_sums(const T* x, float* partials, Index rows, int channels) {
    if (by_packs<T>(channels) && aligned(x)) {
        column_sums_as<T, Pack<T>::SIZE>(x, partials, rows, channels);
    } else {
        column_sums_as<T, 1>(x, partials, rows, channels);
    }
}

extern "C" __global__ void column_sums_f32(const float* __restrict__ x, float* __restrict__ partials, Index rows, int channels) {
    column_sums(x, partials, rows, channels);
}
extern "C" __global__ void column_sums_bf16(const bf16* __restrict__ x, float* __restrict__ partials, Index rows, int channels) {
    column_sums(x, partials, rows, channels);
}

// Adds the blocks' sums; a block a channel.
extern "C" __global__ void column_sums_total(const float* __restrict__ partials, float* __restrict__ sums, int blocks) {
    const double sum = sum_partials(partials + (Index)blockIdx.x * blocks, blocks);
    if (threadIdx.x == 0) sums[blockIdx.x] = (float)sum;
}
