// Focal loss and its gradient in one pass; the formula stands in `focal.rs`. The factors are those of `cross_entropy_terms`.

#include "tile.cuh"

// The factors, as the pixels see them: each class' weight, as it is and over the norm.
struct Focal {
    const float *weight, *scaled;
    float gamma;

    __device__ Focal(const float* terms, float gamma, int classes)
        : weight(terms), scaled(terms + 2 * classes), gamma(gamma) {}

    // The loss of a pixel, not yet over the norm; puts its gradient in the place of its logits.
    __device__ double operator()(float* row, int label, int classes) const {
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
        for (int c = 0; c < classes; ++c) row[c] = scaled[label] * slope * (row[c] / sum);
        row[label] = -scaled[label] * slope * rest;
        return (double)weight[label] * ((double)power * surprise);
    }
};

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
    pixel_losses(Focal(terms, gamma, classes), logits, labels, norm, partials, gradient, pixels, classes);
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
    pixel_losses(Focal(terms, gamma, classes), logits, labels, norm, partials, gradient, pixels, classes);
}
