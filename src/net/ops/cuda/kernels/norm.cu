// Normalisation, with the rectifier that follows it: batch norm is one image whose groups are single channels, group norm
// has an image an entry of the batch. The operators' formulas stand in `batch_norm.rs` and `group_norm.rs`.
//
// Statistics are five rows of a value an image and channel: mean, biased variance, inverse deviation, scale and shift.

#include "rows.cuh"

// Number, mean, and squares around the mean of some values of V channels.
template <int V>
struct Moments {
    float count;
    float mean[V];
    float squares[V];
};

// Joins two sets of values of one channel (Chan, Golub, LeVeque 1979): a mean far from 0 costs no digits. `part` is the
// share of the second set, `weight` what the squared distance of the means counts.
__device__ inline void join(float& mean, float& squares, float other_mean, float other_squares, float part, float weight) {
    const float delta = other_mean - mean;
    mean += delta * part;
    squares += other_squares + delta * delta * weight;
}

template <int V, int ROWS>
__device__ inline void add_rows(Moments<V>& m, float (&x)[ROWS][V], const float (&pivot)[V]) {
    const float total = m.count + ROWS;
    const float part = ROWS / total, weight = m.count * part;
    for (int k = 0; k < V; ++k) {
        float sum = 0.0f, squares = 0.0f;
        for (int r = 0; r < ROWS; ++r) sum += x[r][k] -= pivot[k];
        const float mean = sum * (1.0f / ROWS);
        for (int r = 0; r < ROWS; ++r) squares += (x[r][k] - mean) * (x[r][k] - mean);
        join(m.mean[k], m.squares[k], mean, squares, part, weight);
    }
    m.count = total;
}

// Joins the moments of all lines; line 0 gets the result.
template <int V>
__device__ inline void fold_moments(Moments<V>& m, const Place& p) {
    __shared__ float count[THREADS], mean[V][THREADS], squares[V][THREADS];
    const int me = threadIdx.x;
    __syncthreads();
    count[me] = m.count;
    for (int k = 0; k < V; ++k) mean[k][me] = m.mean[k], squares[k][me] = m.squares[k];
    for (int span = 1; span < p.lines; span *= 2) {
        __syncthreads();
        const int other = me + span * p.packs;
        const bool first = p.active && p.line % (2 * span) == 0 && p.line + span < p.lines;
        if (!first || count[other] == 0.0f) continue;
        const float total = count[me] + count[other], part = count[other] / total, weight = count[me] * part;
        for (int k = 0; k < V; ++k) join(mean[k][me], squares[k][me], mean[k][other], squares[k][other], part, weight);
        count[me] = total;
    }
    for (int k = 0; k < V; ++k) m.mean[k] = mean[k][me], m.squares[k] = squares[k][me];
}

// Values are taken relative to those of the image's first row, so that means are as small as their differences, and no digits
// are lost where they lie far from 0.
template <class T, int V>
__device__ void moments_as(const T* x, float* means, float* squares, float* pivots, Index rows, int channels) {
    const int ROWS = 4;
    const Range range = share(rows, gridDim.x, blockIdx.x);
    for (int slice = blockIdx.y; slice * SLICE * V < channels; slice += gridDim.y) {
        const Place p = place<V>(channels, slice);
        Moments<V> m = {};
        if (p.active) {
            float pivot[V];
            load(x + p.channel, pivot);
            for (int k = 0; k < V && blockIdx.x == 0 && p.line == 0; ++k) pivots[p.channel + k] = pivot[k];
            Index row = range.first + p.line;
            for (; row + (ROWS - 1) * p.lines < range.end; row += ROWS * p.lines) {
                float values[ROWS][V];
                for (int r = 0; r < ROWS; ++r) load(x + (row + r * p.lines) * channels + p.channel, values[r]);
                add_rows(m, values, pivot);
            }
            for (; row < range.end; row += p.lines) {
                float values[1][V];
                load(x + row * channels + p.channel, values[0]);
                add_rows(m, values, pivot);
            }
        }
        fold_moments(m, p);
        store_partials(means, m.mean, p);
        store_partials(squares, m.squares, p);
    }
}

// `partials`: for each image and channel a row of the blocks' means; as much again for the squares around them; and a value
// that the means are relative to.
template <class T>
__device__ void moments(const T* x, float* partials, Index rows, int channels) {
    const Index all = (Index)gridDim.z * channels, image = (Index)blockIdx.z * channels;
    float* means = partials + image * gridDim.x;
    float* squares = means + all * gridDim.x;
    float* pivots = partials + 2 * all * gridDim.x + image;
    x += blockIdx.z * rows * channels;
    if (by_packs<T>(channels) && aligned(x)) {
        moments_as<T, Pack<T>::SIZE>(x, means, squares, pivots, rows, channels);
    } else {
        moments_as<T, 1>(x, means, squares, pivots, rows, channels);
    }
}

extern "C" __global__ void norm_moments_f32(const float* __restrict__ x, float* __restrict__ partials, Index rows, int channels) {
    moments(x, partials, rows, channels);
}
extern "C" __global__ void norm_moments_bf16(const bf16* __restrict__ x, float* __restrict__ partials, Index rows, int channels) {
    moments(x, partials, rows, channels);
}

// Joins the moments that all threads of a block hold; every thread gets the result.
__device__ inline void join_block(double& count, double& mean, double& squares) {
    __shared__ double counts[THREADS], means[THREADS], sums[THREADS];
    const int me = threadIdx.x;
    counts[me] = count, means[me] = mean, sums[me] = squares;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        const int other = me + half;
        if (me >= half || counts[other] == 0.0) continue;
        const double total = counts[me] + counts[other], delta = means[other] - means[me];
        means[me] += delta * (counts[other] / total);
        sums[me] += sums[other] + delta * delta * (counts[me] * (counts[other] / total));
        counts[me] = total;
    }
    __syncthreads();
    count = counts[0], mean = means[0], squares = sums[0];
}

// Moments of the `per_group` channels from number `first` on, of which there are `all` in all images, from those of `blocks`
// blocks; every thread gets them.
struct Joined {
    double count, mean, squares;
};

__device__ inline Joined join_partials(const float* partials, Index all, Index first, int per_group, Index rows, int blocks) {
    const float* means = partials + first * blocks;
    const float* squares_around = means + all * blocks;
    // Relative to the group's first channel.
    const float* pivots = partials + 2 * all * blocks + first;
    const double pivot = pivots[0];
    Joined joined = {};
    for (Index item = threadIdx.x; item < (Index)per_group * blocks; item += THREADS) {
        int block;
        const Index channel = divide(item, blocks, block);
        const Range range = share(rows, blocks, block);
        const double more = (double)(range.end - range.first);
        if (more == 0.0) continue;
        const double total = joined.count + more, delta = means[item] + (pivots[channel] - pivot) - joined.mean;
        joined.mean += delta * (more / total);
        joined.squares += squares_around[item] + delta * delta * (joined.count * (more / total));
        joined.count = total;
    }
    join_block(joined.count, joined.mean, joined.squares);
    joined.mean += pivot;
    return joined;
}

// Writes the five values of a channel to every `all`-th place from `at` on.
__device__ inline void write_statistics(float* at, Index all, double mean, double variance, float eps, float gamma, float beta) {
    const float inverse = (float)(1.0 / sqrt(variance + (double)eps));
    const float scale = inverse * gamma;
    at[0] = (float)mean;
    at[all] = (float)variance;
    at[2 * all] = inverse;
    at[3 * all] = scale;
    at[4 * all] = (float)(beta - (double)scale * mean);
}

// Statistics from the moments of `blocks` blocks. A grid of (groups, images).
extern "C" __global__ void norm_statistics(
    const float* __restrict__ partials,
    const float* __restrict__ gamma,
    const float* __restrict__ beta,
    float* __restrict__ statistics,
    Index rows,
    int channels,
    int blocks,
    float eps
) {
    const int images = gridDim.y, per_group = channels / gridDim.x;
    const Index all = (Index)images * channels, first = (Index)blockIdx.y * channels + blockIdx.x * per_group;
    const Joined joined = join_partials(partials, all, first, per_group, rows, blocks);
    const double variance = joined.squares / joined.count;
    for (int c = threadIdx.x; c < per_group; c += THREADS) {
        const int channel = blockIdx.x * per_group + c;
        write_statistics(statistics + first + c, all, joined.mean, variance, eps, gamma[channel], beta[channel]);
    }
}

// Where a batch is that of several ranks: this rank's part of it. `moments`: a row of the channels' means, a row of the squares
// around them. A grid of channels.
extern "C" __global__ void norm_rank_moments(
    const float* __restrict__ partials, double* __restrict__ moments, Index rows, int channels, int blocks
) {
    const Joined joined = join_partials(partials, channels, blockIdx.x, 1, rows, blocks);
    if (threadIdx.x != 0) return;
    moments[blockIdx.x] = joined.mean;
    moments[channels + blockIdx.x] = joined.squares;
}

// Statistics of the whole batch of `patches` patches, from the moments of `ranks` ranks, joined in their order. The first ranks
// have a patch more where they cannot all have as many.
extern "C" __global__ void norm_statistics_of_ranks(
    const double* __restrict__ moments,
    const float* __restrict__ gamma,
    const float* __restrict__ beta,
    float* __restrict__ statistics,
    Index rows_per_patch,
    int patches,
    int ranks,
    int channels,
    float eps
) {
    for (Index c = grid_thread(); c < channels; c += grid_threads()) {
        double count = 0.0, mean = 0.0, squares = 0.0;
        for (int rank = 0; rank < ranks; ++rank) {
            const double* of_rank = moments + (Index)rank * 2 * channels;
            const double more = (double)rows_per_patch * (patches / ranks + (rank < patches % ranks ? 1 : 0));
            const double total = count + more, delta = of_rank[c] - mean;
            mean += delta * (more / total);
            squares += of_rank[channels + c] + delta * delta * (count * (more / total));
            count = total;
        }
        write_statistics(statistics + c, channels, mean, squares / count, eps, gamma[c], beta[c]);
    }
}

template <class T, int V>
__device__ void apply_as(const T* x, const float* scale, const float* shift, T* y, Index rows, int channels, float floor) {
    const int ROWS = 2;
    const Range range = share(rows, gridDim.x, blockIdx.x);
    for (int slice = blockIdx.y; slice * SLICE * V < channels; slice += gridDim.y) {
        const Place p = place<V>(channels, slice);
        if (!p.active) continue;
        float a[V], b[V];
        load_parameters(scale + p.channel, a);
        load_parameters(shift + p.channel, b);
        for (Index row = range.first + p.line; row < range.end; row += ROWS * p.lines) {
            float values[ROWS][V];
            for (int r = 0; r < ROWS; ++r) {
                const Index at = row + r * p.lines;
                if (at < range.end) load(x + at * channels + p.channel, values[r]);
            }
            for (int r = 0; r < ROWS; ++r) {
                const Index at = row + r * p.lines;
                if (at >= range.end) continue;
                for (int k = 0; k < V; ++k) {
                    const float v = fmaf(values[r][k], a[k], b[k]);
                    // Not `fmaxf`: a NaN must come through, so that training sees it.
                    values[r][k] = v <= floor ? floor : v;
                }
                store(y + at * channels + p.channel, values[r]);
            }
        }
    }
}

// `y = x * scale + shift`, rectified where asked. `scale` and `shift` have a value an image and channel.
template <class T>
__device__ void apply(const T* x, const float* scale, const float* shift, T* y, Index rows, int channels, int relu) {
    const Index image = blockIdx.z * rows * channels, parameters = (Index)blockIdx.z * channels;
    x += image, y += image, scale += parameters, shift += parameters;
    if (by_packs<T>(channels) && aligned(x, y)) {
        apply_as<T, Pack<T>::SIZE>(x, scale, shift, y, rows, channels, floor_of(relu));
    } else {
        apply_as<T, 1>(x, scale, shift, y, rows, channels, floor_of(relu));
    }
}

extern "C" __global__ void norm_apply_f32(
    const float* __restrict__ x,
    const float* __restrict__ scale,
    const float* __restrict__ shift,
    float* __restrict__ y,
    Index rows,
    int channels,
    int relu
) {
    apply(x, scale, shift, y, rows, channels, relu);
}
extern "C" __global__ void norm_apply_bf16(
    const bf16* __restrict__ x,
    const float* __restrict__ scale,
    const float* __restrict__ shift,
    bf16* __restrict__ y,
    Index rows,
    int channels,
    int relu
) {
    apply(x, scale, shift, y, rows, channels, relu);
}

// `running += momentum * (batch - running)`; the running variance is the unbiased one.
extern "C" __global__ void running_average(
    float* __restrict__ running_mean,
    float* __restrict__ running_var,
    const float* __restrict__ mean,
    const float* __restrict__ variance,
    float momentum,
    float unbiased_factor,
    int channels
) {
    for (Index c = grid_thread(); c < channels; c += grid_threads()) {
        const double by = momentum, old_mean = running_mean[c], old_var = running_var[c];
        running_mean[c] = (float)(old_mean + by * (mean[c] - old_mean));
        running_var[c] = (float)(old_var + by * (variance[c] * (double)unbiased_factor - old_var));
    }
}
