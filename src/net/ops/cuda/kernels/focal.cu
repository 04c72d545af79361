// Focal loss and its gradient in one pass; the formula stands in `focal.rs`. The factors are those of `cross_entropy_terms`.

#include "tile.cuh"

// The loss of a pixel by its own class' weight, not yet over the norm; puts its gradient in the place of its logits.
__device__ inline double focal_pixel(float* row, int label, int classes, float weight, float scaled, float gamma) {
    const float max = highest(row, classes);
    // The difference first: next to a huge maximum the logarithm would be lost.
    const float below = max - row[label];
    exponentiate(row, max, classes);
    // Summed up, since 1 less a number near 1 has few digits.
    float others = 0.0f;
    for (int c = 0; c < classes; ++c) others += c == label ? 0.0f : row[c];
    const float sum = row[label] + others, own = row[label] / sum, rest = others / sum;
    const float surprise = below + logf(sum);
    const float power = powf(rest, gamma);
    // At a probability of 1 the limit is 0, where the second power may be infinite.
    const bool second = gamma != 0.0f && rest != 0.0f;
    const float slope = second ? power + gamma * own * powf(rest, gamma - 1.0f) * surprise : power;
    for (int c = 0; c < classes; ++c) row[c] = scaled * slope * (row[c] / sum);
    row[label] = -scaled * slope * rest;
    return (double)weight * ((double)power * surprise);
}

// `partials` gets a sum of losses a block; `gradient`, where it is asked for, the gradient of the loss.
template <class T>
__device__ void focal(
    const T* logits,
    const unsigned char* labels,
    const float* terms,
    const double* norm,
    double* partials,
    T* gradient,
    float gamma,
    Index pixels,
    int classes
) {
    __shared__ float tile[TILE];
    const bool live = *norm > 0.0;
    const int most = tile_pixels(classes);
    double loss = 0.0;
    for (Index first = (Index)blockIdx.x * most; first < pixels; first += (Index)gridDim.x * most) {
        const int count = (int)least((Index)most, pixels - first);
        load_tile(logits + first * classes, tile, count, classes);
        __syncthreads();
        if (threadIdx.x < count) {
            float* row = tile + threadIdx.x * row_stride(classes);
            const int label = labels[first + threadIdx.x];
            if (live && is_class(label, classes)) {
                loss += focal_pixel(row, label, classes, terms[label], terms[2 * classes + label], gamma);
            } else {
                fill_row(row, 0.0f, classes);
            }
        }
        __syncthreads();
        if (gradient) store_tile(gradient + first * classes, tile, count, classes);
        __syncthreads();
    }
    loss = block_sum(loss);
    if (threadIdx.x == 0) partials[blockIdx.x] = loss;
}

extern "C" __global__ void focal_f32(
    const float* __restrict__ logits,
    const unsigned char* __restrict__ labels,
    const float* __restrict__ terms,
    const double* __restrict__ norm,
    double* __restrict__ partials,
    float* __restrict__ gradient,
    float gamma,
    Index pixels,
    int classes
) {
    focal(logits, labels, terms, norm, partials, gradient, gamma, pixels, classes);
}
extern "C" __global__ void focal_bf16(
    const bf16* __restrict__ logits,
    const unsigned char* __restrict__ labels,
    const float* __restrict__ terms,
    const double* __restrict__ norm,
    double* __restrict__ partials,
    bf16* __restrict__ gradient,
    float gamma,
    Index pixels,
    int classes
) {
    focal(logits, labels, terms, norm, partials, gradient, gamma, pixels, classes);
}
