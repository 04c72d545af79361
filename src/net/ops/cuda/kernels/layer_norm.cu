// Layer normalisation. A warp has a pixel at a time and goes along its channels, but where sums over the pixels are made:
// there a thread keeps its channels. The formulas stand in `layer_norm.rs`.
//
// Statistics are two rows of a value a pixel: mean and inverse deviation.

#include "rows.cuh"

const int WARP = 32;
// Pixels that a block has at a time.
const int WARPS = THREADS / WARP;

// Sum over a warp, in a fixed order; every lane gets it.
__device__ inline float warp_sum(float value) {
    for (int by = WARP / 2; by > 0; by /= 2) value += __shfl_xor_sync(0xffffffffu, value, by);
    return value;
}

// First pixel of a warp, and pixels from it to its next.
__device__ inline Index first_pixel() { return (Index)blockIdx.x * WARPS + threadIdx.x / WARP; }
__device__ inline Index pixel_step() { return (Index)gridDim.x * WARPS; }

template <class T>
__device__ void layer_norm(
    const T* x, const float* gamma, const float* beta, float* statistics, T* y, Index pixels, int channels, float eps
) {
    const int lane = threadIdx.x % WARP;
    for (Index pixel = first_pixel(); pixel < pixels; pixel += pixel_step()) {
        const T* from = x + pixel * channels;
        float sum = 0.0f, squares = 0.0f;
        for (int c = lane; c < channels; c += WARP) sum += to_float(from[c]);
        const float mean = warp_sum(sum) / channels;
        // Around the mean: a mean far from 0 costs no digits.
        for (int c = lane; c < channels; c += WARP) {
            const float apart = to_float(from[c]) - mean;
            squares += apart * apart;
        }
        const float inverse = 1.0f / sqrtf(warp_sum(squares) / channels + eps);
        for (int c = lane; c < channels; c += WARP) {
            y[pixel * channels + c] = from_float<T>((to_float(from[c]) - mean) * inverse * gamma[c] + beta[c]);
        }
        if (lane == 0) statistics[pixel] = mean, statistics[pixels + pixel] = inverse;
    }
}

extern "C" __global__ void layer_norm_f32(
    const float* __restrict__ x,
    const float* __restrict__ gamma,
    const float* __restrict__ beta,
    float* __restrict__ statistics,
    float* __restrict__ y,
    Index pixels,
    int channels,
    float eps
) {
    layer_norm(x, gamma, beta, statistics, y, pixels, channels, eps);
}
extern "C" __global__ void layer_norm_bf16(
    const bf16* __restrict__ x,
    const float* __restrict__ gamma,
    const float* __restrict__ beta,
    float* __restrict__ statistics,
    bf16* __restrict__ y,
    Index pixels,
    int channels,
    float eps
) {
    layer_norm(x, gamma, beta, statistics, y, pixels, channels, eps);
}

template <class T>
__device__ void layer_norm_input_gradient(
    const T* x, const T* dy, const float* gamma, const float* statistics, T* dx, Index pixels, int channels
) {
    const int lane = threadIdx.x % WARP;
    for (Index pixel = first_pixel(); pixel < pixels; pixel += pixel_step()) {
        const Index at = pixel * channels;
        const float mean = statistics[pixel], inverse = statistics[pixels + pixel];
        float sum = 0.0f, dot = 0.0f;
        for (int c = lane; c < channels; c += WARP) {
            const float slope = gamma[c] * to_float(dy[at + c]);
            sum += slope;
            dot += slope * ((to_float(x[at + c]) - mean) * inverse);
        }
        sum = warp_sum(sum) / channels;
        dot = warp_sum(dot) / channels;
        for (int c = lane; c < channels; c += WARP) {
            const float normal = (to_float(x[at + c]) - mean) * inverse;
            dx[at + c] = from_float<T>((gamma[c] * to_float(dy[at + c]) - sum - normal * dot) * inverse);
        }
    }
}

extern "C" __global__ void layer_norm_input_gradient_f32(
    const float* __restrict__ x,
    const float* __restrict__ dy,
    const float* __restrict__ gamma,
    const float* __restrict__ statistics,
    float* __restrict__ dx,
    Index pixels,
    int channels
) {
    layer_norm_input_gradient(x, dy, gamma, statistics, dx, pixels, channels);
}
extern "C" __global__ void layer_norm_input_gradient_bf16(
    const bf16* __restrict__ x,
    const bf16* __restrict__ dy,
    const float* __restrict__ gamma,
    const float* __restrict__ statistics,
    bf16* __restrict__ dx,
    Index pixels,
    int channels
) {
    layer_norm_input_gradient(x, dy, gamma, statistics, dx, pixels, channels);
}

template <class T, int V>
__device__ void layer_norm_sums_as(const T* x, const T* dy, const float* statistics, float* partials, Index pixels, int channels) {
    const Range range = share(pixels, gridDim.x, blockIdx.x);
    for (int slice = blockIdx.y; slice * SLICE * V < channels; slice += gridDim.y) {
        const Place p = place<V>(channels, slice);
        float dot[V] = {}, sum[V] = {};
        for (Index pixel = range.first + p.line; p.active && pixel < range.end; pixel += p.lines) {
            float xs[V], dys[V];
            load(x + pixel * channels + p.channel, xs);
            load(dy + pixel * channels + p.channel, dys);
            const float mean = statistics[pixel], inverse = statistics[pixels + pixel];
            for (int k = 0; k < V; ++k) {
                dot[k] += dys[k] * ((xs[k] - mean) * inverse);
                sum[k] += dys[k];
            }
        }
        fold(dot, p);
        store_partials(partials, dot, p);
        fold(sum, p);
        store_partials(partials + (Index)channels * gridDim.x, sum, p);
    }
}

// `partials`: for each channel a row of the blocks' sums of `dy * xhat`, the gradient of gamma; as much again for the sums of
// `dy`, that of beta.
template <class T>
__device__ void layer_norm_sums(const T* x, const T* dy, const float* statistics, float* partials, Index pixels, int channels) {
    if (by_packs<T>(channels) && aligned(x, dy)) {
        layer_norm_sums_as<T, Pack<T>::SIZE>(x, dy, statistics, partials, pixels, channels);
    } else {
        layer_norm_sums_as<T, 1>(x, dy, statistics, partials, pixels, channels);
    }
}

extern "C" __global__ void layer_norm_sums_f32(
    const float* __restrict__ x,
    const float* __restrict__ dy,
    const float* __restrict__ statistics,
    float* __restrict__ partials,
    Index pixels,
    int channels
) {
    layer_norm_sums(x, dy, statistics, partials, pixels, channels);
}
extern "C" __global__ void layer_norm_sums_bf16(
    const bf16* __restrict__ x,
    const bf16* __restrict__ dy,
    const float* __restrict__ statistics,
    float* __restrict__ partials,
    Index pixels,
    int channels
) {
    layer_norm_sums(x, dy, statistics, partials, pixels, channels);
}
