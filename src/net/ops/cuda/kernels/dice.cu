// Dice loss: sums over the batch, slopes from them, and the gradient. The formula stands in `dice.rs`.

#include "tile.cuh"

// `partials`: a row of the blocks' sums for each class, of its probabilities at labelled pixels, and as many of those at its
// own pixels. A grid of (blocks, slices of THREADS classes).
template <class T>
__device__ void dice_sums(const T* logits, const unsigned char* labels, double* partials, Index pixels, int classes) {
    __shared__ float tile[TILE];
    __shared__ double sums[THREADS], overlaps[THREADS];
    const int most = tile_pixels(classes), first_class = blockIdx.y * THREADS, width = least(THREADS, classes - first_class);
    // A thread has a class and every so many-th pixel.
    const int strands = THREADS / width, strand = threadIdx.x / width, own = first_class + threadIdx.x % width;
    double sum = 0.0, overlap = 0.0;
    for (Index first = (Index)blockIdx.x * most; first < pixels; first += (Index)gridDim.x * most) {
        const int count = (int)least((Index)most, pixels - first);
        load_tile(logits + first * classes, tile, count, classes);
        __syncthreads();
        if (threadIdx.x < count) softmax(tile + threadIdx.x * row_stride(classes), classes);
        __syncthreads();
        float part = 0.0f, own_part = 0.0f;
        for (int pixel = strand; strand < strands && pixel < count; pixel += strands) {
            const int label = labels[first + pixel];
            if (!is_class(label, classes)) continue;
            const float p = tile[pixel * row_stride(classes) + own];
            part += p;
            own_part += label == own ? p : 0.0f;
        }
        sum += part;
        overlap += own_part;
        __syncthreads();
    }
    sums[threadIdx.x] = sum;
    overlaps[threadIdx.x] = overlap;
    __syncthreads();
    if (strand != 0) return;
    for (int other = threadIdx.x + width; other < strands * width; other += width) sum += sums[other], overlap += overlaps[other];
    partials[(Index)own * gridDim.x + blockIdx.x] = sum;
    partials[(Index)(classes + own) * gridDim.x + blockIdx.x] = overlap;
}

extern "C" __global__ void dice_sums_f32(
    const float* __restrict__ logits,
    const unsigned char* __restrict__ labels,
    double* __restrict__ partials,
    Index pixels,
    int classes
) {
    dice_sums(logits, labels, partials, pixels, classes);
}
extern "C" __global__ void dice_sums_bf16(
    const bf16* __restrict__ logits,
    const unsigned char* __restrict__ labels,
    double* __restrict__ partials,
    Index pixels,
    int classes
) {
    dice_sums(logits, labels, partials, pixels, classes);
}

// Every class' part of the loss, and `slopes`: the loss' slope along the class' probability at pixels of other classes, as many
// at pixels of its own, and whether there is any class with weight. A block a class.
extern "C" __global__ void dice_slopes(
    const double* __restrict__ partials,
    const unsigned long long* __restrict__ counts,
    const float* __restrict__ weights,
    float* __restrict__ slopes,
    double* __restrict__ losses,
    float smooth,
    int blocks,
    int classes
) {
    const int own = blockIdx.x;
    double norm = 0.0, sum = 0.0, overlap = 0.0;
    for (int c = threadIdx.x; c < classes; c += THREADS) {
        if (counts[c] > 0) norm += weights ? weights[c] : 1.0;
    }
    for (int b = threadIdx.x; b < blocks; b += THREADS) {
        sum += partials[(Index)own * blocks + b];
        overlap += partials[(Index)(classes + own) * blocks + b];
    }
    norm = block_sum(norm);
    sum = block_sum(sum);
    overlap = block_sum(overlap);
    if (threadIdx.x != 0) return;
    const double labelled = (double)counts[own];
    double loss = 0.0, other = 0.0, at_own = 0.0;
    if (norm > 0.0 && labelled > 0.0) {
        const double share = (weights ? weights[own] : 1.0) / norm;
        const double above = 2.0 * overlap + smooth, below = sum + labelled + smooth;
        loss = share * (1.0 - above / below);
        other = share * above / (below * below);
        at_own = other - share * 2.0 / below;
    }
    losses[own] = loss;
    slopes[own] = (float)other;
    slopes[classes + own] = (float)at_own;
    if (own == 0) slopes[2 * classes] = norm > 0.0 ? 1.0f : 0.0f;
}

// `dx_j = p_j * (d_j - sum_c p_c * d_c)` with the slopes `d` along the probabilities `p`.
template <class T>
__device__ void dice_gradient(
    const T* logits, const unsigned char* labels, const float* slopes, T* gradient, Index pixels, int classes
) {
    __shared__ float tile[TILE];
    const int most = tile_pixels(classes);
    const bool live = slopes[2 * classes] > 0.0f;
    for (Index first = (Index)blockIdx.x * most; first < pixels; first += (Index)gridDim.x * most) {
        const int count = (int)least((Index)most, pixels - first);
        load_tile(logits + first * classes, tile, count, classes);
        __syncthreads();
        if (threadIdx.x < count) {
            float* row = tile + threadIdx.x * row_stride(classes);
            const int label = labels[first + threadIdx.x];
            if (live && is_class(label, classes)) {
                softmax(row, classes);
                auto slope = [&](int c) { return slopes[c == label ? classes + c : c]; };
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

extern "C" __global__ void dice_gradient_f32(
    const float* __restrict__ logits,
    const unsigned char* __restrict__ labels,
    const float* __restrict__ slopes,
    float* __restrict__ gradient,
    Index pixels,
    int classes
) {
    dice_gradient(logits, labels, slopes, gradient, pixels, classes);
}
extern "C" __global__ void dice_gradient_bf16(
    const bf16* __restrict__ logits,
    const unsigned char* __restrict__ labels,
    const float* __restrict__ slopes,
    bf16* __restrict__ gradient,
    Index pixels,
    int classes
) {
    dice_gradient(logits, labels, slopes, gradient, pixels, classes);
}
