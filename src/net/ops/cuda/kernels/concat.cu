// Joining of channels.

#include "common.cuh"

// Rows of `left` and of `right` channels side by side into rows of both.
template <class T, int V>
__device__ void join_as(const T* a, const T* b, T* y, Index rows, int left, int right) {
    const int packs = (left + right) / V;
    for (Index i = grid_thread(); i < rows * packs; i += grid_threads()) {
        int pack;
        const Index row = divide(i, packs, pack);
        const int channel = pack * V;
        float values[V];
        load(channel < left ? a + row * left + channel : b + row * right + (channel - left), values);
        store(y + i * V, values);
    }
}

template <class T, int V>
__device__ void split_as(const T* y, T* a, T* b, Index rows, int left, int right) {
    const int packs = (left + right) / V;
    for (Index i = grid_thread(); i < rows * packs; i += grid_threads()) {
        int pack;
        const Index row = divide(i, packs, pack);
        const int channel = pack * V;
        float values[V];
        load(y + i * V, values);
        store(channel < left ? a + row * left + channel : b + row * right + (channel - left), values);
    }
}

template <class T>
__device__ inline bool concat_by_packs(const T* a, const T* b, const T* y, int left, int right) {
    return left % Pack<T>::SIZE == 0 && right % Pack<T>::SIZE == 0 && aligned(a, b, y);
}

template <class T>
__device__ void join(const T* a, const T* b, T* y, Index rows, int left, int right) {
    if (concat_by_packs(a, b, y, left, right)) {
        join_as<T, Pack<T>::SIZE>(a, b, y, rows, left, right);
    } else {
        join_as<T, 1>(a, b, y, rows, left, right);
    }
}

template <class T>
__device__ void split(const T* y, T* a, T* b, Index rows, int left, int right) {
    if (concat_by_packs(a, b, y, left, right)) {
        split_as<T, Pack<T>::SIZE>(y, a, b, rows, left, right);
    } else {
        split_as<T, 1>(y, a, b, rows, left, right);
    }
}

extern "C" __global__ void concat_f32(
    const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ y, Index rows, int left, int right
) {
    join(a, b, y, rows, left, right);
}
extern "C" __global__ void concat_bf16(
    const bf16* __restrict__ a, const bf16* __restrict__ b, bf16* __restrict__ y, Index rows, int left, int right
) {
    join(a, b, y, rows, left, right);
}
extern "C" __global__ void split_f32(
    const float* __restrict__ y, float* __restrict__ a, float* __restrict__ b, Index rows, int left, int right
) {
    split(y, a, b, rows, left, right);
}
extern "C" __global__ void split_bf16(
    const bf16* __restrict__ y, bf16* __restrict__ a, bf16* __restrict__ b, Index rows, int left, int right
) {
    split(y, a, b, rows, left, right);
}
