// Batches from patches that lie on the device: chosen, flipped, jittered and rounded to the network's type in one pass.

#include "common.cuh"

// Where the pixel (row, column) of a patch that was transformed by `symmetry` comes from: bit 0 mirrors left-right, bit 1
// top-bottom, bit 2 then transposes. The same rule as `net::augment::Symmetry`.
__device__ inline int source_pixel(int symmetry, int size, int row, int column) {
    if (symmetry & 4) {
        const int other = row;
        row = column;
        column = other;
    }
    if (symmetry & 1) {
        column = size - 1 - column;
    }
    if (symmetry & 2) {
        row = size - 1 - row;
    }
    return row * size + column;
}

// Draws: for every place in the batch the patch and its symmetry. Jitter, where not null: gain and offset for every place
// and band. Grid: x over the pixels of a patch, y the place.
template <class T>
__device__ void gather(const float* __restrict__ patches, const unsigned char* __restrict__ labels,
                       const int* __restrict__ draws, const float* __restrict__ jitter, T* __restrict__ batch,
                       unsigned char* __restrict__ batch_labels, int size, int bands) {
    const int place = blockIdx.y;
    const int pixels = size * size;
    const Index patch = draws[2 * place];
    const int symmetry = draws[2 * place + 1];
    const float* __restrict__ from = patches + patch * pixels * bands;
    const unsigned char* __restrict__ from_labels = labels + patch * pixels;
    T* __restrict__ into = batch + static_cast<Index>(place) * pixels * bands;
    unsigned char* __restrict__ into_labels = batch_labels + static_cast<Index>(place) * pixels;
    for (int pixel = blockIdx.x * blockDim.x + threadIdx.x; pixel < pixels; pixel += gridDim.x * blockDim.x) {
        const int source = source_pixel(symmetry, size, pixel / size, pixel % size);
        into_labels[pixel] = from_labels[source];
        for (int band = 0; band < bands; ++band) {
            float value = from[static_cast<Index>(source) * bands + band];
            if (jitter != nullptr) {
                const float* line = jitter + (place * bands + band) * 2;
                value = value * line[0] + line[1];
            }
            into[static_cast<Index>(pixel) * bands + band] = from_float<T>(value);
        }
    }
}

extern "C" __global__ void gather_patches_f32(const float* patches, const unsigned char* labels, const int* draws,
                                              const float* jitter, float* batch, unsigned char* batch_labels, int size,
                                              int bands) {
    gather(patches, labels, draws, jitter, batch, batch_labels, size, bands);
}

extern "C" __global__ void gather_patches_bf16(const float* patches, const unsigned char* labels, const int* draws,
                                               const float* jitter, bf16* batch, unsigned char* batch_labels, int size,
                                               int bands) {
    gather(patches, labels, draws, jitter, batch, batch_labels, size, bands);
}
