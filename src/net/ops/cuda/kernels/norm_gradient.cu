// Gradients of normalisation. The rectifier's gate is the forward pass' own arithmetic over again, which costs less than
// reading its result from memory.

#include "rows.cuh"

// A thread's channels.
template <int V>
struct Channels {
    float mean[V], scale[V], shift[V];

    __device__ Channels(const float* statistics, Index all, int channel) {
        load_parameters(statistics + channel, mean);
        load_parameters(statistics + 3 * all + channel, scale);
        load_parameters(statistics + 4 * all + channel, shift);
    }

    // `dy` after the gate.
    __device__ float gated(int k, float x, float dy, float floor) const {
        return fmaf(x, scale[k], shift[k]) <= floor ? 0.0f : dy;
    }
};

template <class T, int V>
__device__ void sums_as(
    const T* x, const T* dy, const float* statistics, Index all, float* sums, float* dots, Index rows, int channels, float floor
) {
    const int ROWS = 2;
    const Range range = share(rows, gridDim.x, blockIdx.x);
    for (int slice = blockIdx.y; slice * SLICE * V < channels; slice += gridDim.y) {
        const Place p = place<V>(channels, slice);
        float sum[V] = {}, dot[V] = {};
        if (p.active) {
            const Channels<V> of(statistics, all, p.channel);
            for (Index row = range.first + p.line; row < range.end; row += ROWS * p.lines) {
                float xs[ROWS][V], dys[ROWS][V];
                for (int r = 0; r < ROWS; ++r) {
                    const Index at = row + r * p.lines;
                    if (at >= range.end) continue;
                    load(x + at * channels + p.channel, xs[r]);
                    load(dy + at * channels + p.channel, dys[r]);
                }
                for (int r = 0; r < ROWS; ++r) {
                    if (row + r * p.lines >= range.end) continue;
                    for (int k = 0; k < V; ++k) {
                        const float d = of.gated(k, xs[r][k], dys[r][k], floor);
                        sum[k] += d;
                        dot[k] += d * (xs[r][k] - of.mean[k]);
                    }
                }
            }
        }
        fold(sum, p);
        store_partials(sums, sum, p);
        fold(dot, p);
        store_partials(dots, dot, p);
    }
}

// `partials`: for each image and channel a row of the blocks' sums of `dy` after the gate; as much again for the sums of
// `dy * (x - mean)`.
template <class T>
__device__ void sums(
    const T* x, const T* dy, const float* statistics, float* partials, Index rows, int channels, int relu
) {
    const Index all = (Index)gridDim.z * channels, image = blockIdx.z * rows * channels;
    float* of_dy = partials + (Index)blockIdx.z * channels * gridDim.x;
    float* dots = of_dy + all * gridDim.x;
    x += image, dy += image, statistics += (Index)blockIdx.z * channels;
    if (by_packs<T>(channels) && aligned(x, dy)) {
        sums_as<T, Pack<T>::SIZE>(x, dy, statistics, all, of_dy, dots, rows, channels, floor_of(relu));
    } else {
        sums_as<T, 1>(x, dy, statistics, all, of_dy, dots, rows, channels, floor_of(relu));
    }
}

extern "C" __global__ void norm_sums_f32(
    const float* __restrict__ x,
    const float* __restrict__ dy,
    const float* __restrict__ statistics,
    float* __restrict__ partials,
    Index rows,
    int channels,
    int relu
) {
    sums(x, dy, statistics, partials, rows, channels, relu);
}
extern "C" __global__ void norm_sums_bf16(
    const bf16* __restrict__ x,
    const bf16* __restrict__ dy,
    const float* __restrict__ statistics,
    float* __restrict__ partials,
    Index rows,
    int channels,
    int relu
) {
    sums(x, dy, statistics, partials, rows, channels, relu);
}

// Sum over runs of `strands` threads, a power of two, in a fixed order; the first of each run gets it.
__device__ inline double strand_sum(double value, int strands) {
    __shared__ double kept[THREADS];
    const int me = threadIdx.x;
    // The sums before these have been read.
    __syncthreads();
    kept[me] = value;
    for (int half = strands / 2; half > 0; half /= 2) {
        __syncthreads();
        if (me % strands < half) kept[me] += kept[me + half];
    }
    return kept[me];
}

// From the partial sums: `gradients`, two rows of a value an image and channel, what the image adds to the gradients of
// gamma and beta; `slopes`, two rows as well, with which the gradient of `x` is `scale * dy + slope * (x - mean) + constant`.
// A grid of (groups, images).
extern "C" __global__ void norm_slopes(
    const float* __restrict__ partials,
    const float* __restrict__ statistics,
    float* __restrict__ gradients,
    float* __restrict__ slopes,
    Index rows,
    int channels,
    int blocks
) {
    const int per_group = channels / gridDim.x;
    const Index all = (Index)gridDim.y * channels, first = (Index)blockIdx.y * channels + blockIdx.x * per_group;
    // A few channels at a time, each by a run of threads.
    int lanes = 1;
    while (lanes < per_group && lanes < 32) lanes *= 2;
    const int strands = THREADS / lanes, strand = threadIdx.x % strands;
    double mean_dy = 0.0, mean_dot = 0.0;
    for (int c = 0; c < per_group; c += lanes) {
        const Index at = first + c + threadIdx.x / strands;
        const bool mine = at < first + per_group;
        double sum = 0.0, dot = 0.0;
        for (int b = strand; mine && b < blocks; b += strands) {
            sum += partials[at * blocks + b];
            dot += partials[(all + at) * blocks + b];
        }
        sum = strand_sum(sum, strands);
        dot = strand_sum(dot, strands);
        if (!mine || strand != 0) continue;
        const double scale = statistics[3 * all + at];
        mean_dy += scale * sum;
        mean_dot += scale * dot;
        gradients[at] = (float)(dot * statistics[2 * all + at]);
        gradients[all + at] = (float)sum;
    }
    mean_dy = block_sum(mean_dy);
    mean_dot = block_sum(mean_dot);
    const double count = (double)rows * per_group;
    for (Index at = first + threadIdx.x; at < first + per_group; at += THREADS) {
        const double inverse = statistics[2 * all + at];
        slopes[at] = (float)(-mean_dot / count * inverse * inverse);
        slopes[all + at] = (float)(-mean_dy / count);
    }
}

// Where a batch is that of several ranks: this rank's part of it, from the partial sums. `gradients` as above; `sums`: a row of
// the channels' sums of `dy`, a row of those of `dy * (x - mean)`. A grid of channels.
extern "C" __global__ void norm_rank_sums(
    const float* __restrict__ partials,
    const float* __restrict__ statistics,
    float* __restrict__ gradients,
    double* __restrict__ sums,
    int channels,
    int blocks
) {
    const Index at = blockIdx.x;
    double sum = 0.0, dot = 0.0;
    for (int b = threadIdx.x; b < blocks; b += THREADS) {
        sum += partials[at * blocks + b];
        dot += partials[((Index)channels + at) * blocks + b];
    }
    sum = block_sum(sum);
    dot = block_sum(dot);
    if (threadIdx.x != 0) return;
    gradients[at] = (float)(dot * statistics[2 * (Index)channels + at]);
    gradients[channels + at] = (float)sum;
    sums[at] = sum;
    sums[channels + at] = dot;
}

// `slopes` as above, from the sums over all `rows` of all ranks.
extern "C" __global__ void norm_slopes_of_ranks(
    const double* __restrict__ sums, const float* __restrict__ statistics, float* __restrict__ slopes, Index rows, int channels
) {
    for (Index c = grid_thread(); c < channels; c += grid_threads()) {
        const double inverse = statistics[2 * (Index)channels + c], scale = statistics[3 * (Index)channels + c];
        slopes[c] = (float)(-scale * sums[channels + c] / (double)rows * inverse * inverse);
        slopes[channels + c] = (float)(-scale * sums[c] / (double)rows);
    }
}

// Adds up what the images add to the gradients of gamma and beta: `each` has two rows of a value an image and channel,
// `sums` two rows of a value a channel.
extern "C" __global__ void norm_over_images(const float* __restrict__ each, float* __restrict__ sums, int images, int channels) {
    for (Index at = grid_thread(); at < 2 * channels; at += grid_threads()) {
        const float* first = each + (at < channels ? at : (Index)(images - 1) * channels + at);
        double sum = 0.0;
        for (int image = 0; image < images; ++image) sum += first[(Index)image * channels];
        sums[at] = (float)sum;
    }
}

template <class T, int V>
__device__ void input_gradient_as(
    const T* x, const T* dy, const float* statistics, const float* slopes, Index all, T* dx, Index rows, int channels, float floor
) {
    const int ROWS = 2;
    const Range range = share(rows, gridDim.x, blockIdx.x);
    for (int slice = blockIdx.y; slice * SLICE * V < channels; slice += gridDim.y) {
        const Place p = place<V>(channels, slice);
        if (!p.active) continue;
        const Channels<V> of(statistics, all, p.channel);
        float slope[V], constant[V];
        load_parameters(slopes + p.channel, slope);
        load_parameters(slopes + all + p.channel, constant);
        for (Index row = range.first + p.line; row < range.end; row += ROWS * p.lines) {
            float xs[ROWS][V], dys[ROWS][V];
            for (int r = 0; r < ROWS; ++r) {
                const Index at = row + r * p.lines;
                if (at >= range.end) continue;
                load(x + at * channels + p.channel, xs[r]);
                load(dy + at * channels + p.channel, dys[r]);
            }
            for (int r = 0; r < ROWS; ++r) {
                const Index at = row + r * p.lines;
                if (at >= range.end) continue;
                for (int k = 0; k < V; ++k) {
                    const float d = of.gated(k, xs[r][k], dys[r][k], floor);
                    dys[r][k] = of.scale[k] * d + (slope[k] * (xs[r][k] - of.mean[k]) + constant[k]);
                }
                store(dx + at * channels + p.channel, dys[r]);
            }
        }
    }
}

template <class T>
__device__ void input_gradient(
    const T* x, const T* dy, const float* statistics, const float* slopes, T* dx, Index rows, int channels, int relu
) {
    const Index all = (Index)gridDim.z * channels, image = blockIdx.z * rows * channels;
    x += image, dy += image, dx += image;
    statistics += (Index)blockIdx.z * channels, slopes += (Index)blockIdx.z * channels;
    if (by_packs<T>(channels) && aligned(x, dy, dx)) {
        input_gradient_as<T, Pack<T>::SIZE>(x, dy, statistics, slopes, all, dx, rows, channels, floor_of(relu));
    } else {
        input_gradient_as<T, 1>(x, dy, statistics, slopes, all, dx, rows, channels, floor_of(relu));
    }
}

extern "C" __global__ void norm_input_gradient_f32(
    const float* __restrict__ x,
    const float* __restrict__ dy,
    const float* __restrict__ statistics,
    const float* __restrict__ slopes,
    float* __restrict__ dx,
    Index rows,
    int channels,
    int relu
) {
    input_gradient(x, dy, statistics, slopes, dx, rows, channels, relu);
}
extern "C" __global__ void norm_input_gradient_bf16(
    const bf16* __restrict__ x,
    const bf16* __restrict__ dy,
    const float* __restrict__ statistics,
    const float* __restrict__ slopes,
    bf16* __restrict__ dx,
    Index rows,
    int channels,
    int relu
) {
    input_gradient(x, dy, statistics, slopes, dx, rows, channels, relu);
}
