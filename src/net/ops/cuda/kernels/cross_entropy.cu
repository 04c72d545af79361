// Cross-entropy and its gradient in one pass; the formula stands in `cross_entropy.rs`. And the counts of labels that every
// loss needs first: counting whole numbers gives the same in any order.

#include "tile.cuh"

const int LANES = 32;

// Adds to `counts`, which has an entry a class and one more: the labels of each class, and those that are no class.
extern "C" __global__ void label_counts(
    const unsigned char* __restrict__ labels, unsigned long long* __restrict__ counts, Index pixels, int classes
) {
    // A column a lane, so that a warp whose labels are all equal does not wait for itself. Row IGNORE is no class' row and
    // counts those that are none.
    __shared__ unsigned counters[256 * LANES];
    const int lane = threadIdx.x % LANES;
    for (int i = threadIdx.x; i < 256 * LANES; i += THREADS) counters[i] = 0;
    __syncthreads();
    auto count = [&](unsigned label) {
        if (label == IGNORE) return;
        atomicAdd(&counters[(is_class((int)label, classes) ? label : IGNORE) * LANES + lane], 1u);
    };
    const Index packs = aligned(labels) ? pixels / 16 : 0;
    for (Index i = grid_thread(); i < packs; i += grid_threads()) {
        const Words4 words = reinterpret_cast<const Words4*>(labels)[i];
        for (int k = 0; k < 16; ++k) count(words.word[k / 4] >> k % 4 * 8 & 0xff);
    }
    for (Index i = packs * 16 + grid_thread(); i < pixels; i += grid_threads()) count(labels[i]);
    __syncthreads();
    for (int row = threadIdx.x; row < 256; row += THREADS) {
        unsigned long long sum = 0;
        for (int i = 0; i < LANES; ++i) sum += counters[row * LANES + (i + lane) % LANES];
        if (sum > 0) atomicAdd(&counts[row == IGNORE ? classes : row], sum);
    }
}

// Factors that do not depend on the pixel: four rows of a value a class, (1 - s) * w and s / K * w, and both over the norm;
// then the sums of the second and the fourth row. `norm` is the weight of the labelled pixels, 0 where there are none.
// One block. No weights: all are 1.
extern "C" __global__ void cross_entropy_terms(
    const unsigned long long* __restrict__ counts,
    const float* __restrict__ weights,
    float* __restrict__ terms,
    double* __restrict__ norm,
    float smoothing,
    int classes
) {
    double weight = 0.0, labelled = 0.0;
    for (int c = threadIdx.x; c < classes; c += THREADS) {
        const double w = weights ? weights[c] : 1.0;
        weight += w;
        labelled += w * (double)counts[c];
    }
    weight = block_sum(weight);
    labelled = block_sum(labelled);
    const double s = smoothing, over = labelled > 0.0 ? 1.0 / labelled : 0.0;
    for (int c = threadIdx.x; c < classes; c += THREADS) {
        const double w = weights ? weights[c] : 1.0, hard = (1.0 - s) * w, soft = s / classes * w;
        terms[c] = (float)hard;
        terms[classes + c] = (float)soft;
        terms[2 * classes + c] = (float)(hard * over);
        terms[3 * classes + c] = (float)(soft * over);
    }
    if (threadIdx.x == 0) {
        terms[4 * classes] = (float)(s / classes * weight);
        terms[4 * classes + 1] = (float)(s / classes * weight * over);
        *norm = labelled;
    }
}

// The factors, as the pixels see them.
struct Terms {
    const float *hard, *soft, *hard_scaled, *soft_scaled;
    float soft_total, soft_total_scaled;

    __device__ Terms(const float* terms, int classes)
        : hard(terms),
          soft(terms + classes),
          hard_scaled(terms + 2 * classes),
          soft_scaled(terms + 3 * classes),
          soft_total(terms[4 * classes]),
          soft_total_scaled(terms[4 * classes + 1]) {}

    // The loss of a pixel, not yet over the norm; puts its gradient in the place of its logits.
    __device__ double operator()(float* row, int label, int classes) const {
        const float max = highest(row, classes);
        // The difference first: next to a huge maximum the logarithm would be lost.
        const float below = max - row[label];
        double smoothed = 0.0;
        if (soft_total > 0.0f) {
            for (int c = 0; c < classes; ++c) smoothed += (double)soft[c] * (max - row[c]);
        }
        const float sum = exponentiate(row, max, classes), log_sum = logf(sum);
        const float total = (hard_scaled[label] + soft_total_scaled) / sum;
        for (int c = 0; c < classes; ++c) row[c] = total * row[c] - soft_scaled[c];
        row[label] -= hard_scaled[label];
        return (double)hard[label] * ((double)below + log_sum) + (double)soft_total * log_sum + smoothed;
    }
};

extern "C" __global__ void cross_entropy_f32(
    const float* __restrict__ logits,
    const unsigned char* __restrict__ labels,
    const float* __restrict__ terms,
    const double* __restrict__ norm,
    double* __restrict__ partials,
    float* __restrict__ gradient,
    Index pixels,
    int classes
) {
    pixel_losses(Terms(terms, classes), logits, labels, norm, partials, gradient, pixels, classes);
}
extern "C" __global__ void cross_entropy_bf16(
    const bf16* __restrict__ logits,
    const unsigned char* __restrict__ labels,
    const float* __restrict__ terms,
    const double* __restrict__ norm,
    double* __restrict__ partials,
    bf16* __restrict__ gradient,
    Index pixels,
    int classes
) {
    pixel_losses(Terms(terms, classes), logits, labels, norm, partials, gradient, pixels, classes);
}

// Adds the blocks' losses, over `norm` where there is one (0 gives 0). A label that is no class makes the loss NaN. One block.
extern "C" __global__ void loss_total(
    const double* __restrict__ partials,
    const double* __restrict__ norm,
    const unsigned long long* __restrict__ counts,
    float* __restrict__ loss,
    Index blocks,
    int classes
) {
    double sum = 0.0;
    for (Index b = threadIdx.x; b < blocks; b += THREADS) sum += partials[b];
    sum = block_sum(sum);
    if (threadIdx.x != 0) return;
    if (norm) sum = *norm > 0.0 ? sum / *norm : 0.0;
    *loss = (float)(counts[classes] > 0 ? not_a_number() : sum);
}
