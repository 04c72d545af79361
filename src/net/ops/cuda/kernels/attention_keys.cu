// Attention's way back to keys and values: every run of threads has a key. The queries, which are many, are cut into slices; a
// block adds up one of them, and a second kernel adds the slices in their order.

#include "attention.cuh"

// The part of the queries of this block's slice, and of its keys: blockIdx.x counts keys within slices.
struct Work {
    Index first_key, first, end;
    int slice;

    __device__ Work(const Sizes& sizes, int slices, int runs) {
        const int blocks = gridDim.x / slices;
        slice = blockIdx.x / blocks;
        first_key = (Index)(blockIdx.x - slice * blocks) * runs;
        const Index step = (sizes.queries + slices - 1) / slices;
        first = least(slice * step, sizes.queries);
        end = least(first + step, sizes.queries);
    }
};

// `partials: [slices, 2, N, keys, C]`: of the keys `scale * sum over queries of p * (dp - mean) * q`, of the values the sum of
// `p * dy`, with what `attention_queries` and the forward pass left. A grid of (keys within slices, heads, images).
template <class T, int V, int LANES>
__device__ void attention_keys(
    const T* q, const T* k, const T* v, const T* dy, const float* logs, const float* means, float* partials, Sizes sizes, int slices
) {
    typedef Lane<V, LANES> L;
    alignas(16) __shared__ float queries[TILE];
    alignas(16) __shared__ float pulls[TILE];
    __shared__ float log[L::PIXELS], mean[L::PIXELS];
    const L lane(sizes, gridDim.y);
    const Work work(sizes, slices, L::RUNS);
    // Runs behind the last key work on the last, since all have to wait for the tiles, and write nothing.
    const Index key = least(work.first_key + threadIdx.x / LANES, sizes.keys - 1);
    const bool mine = work.first_key + threadIdx.x / LANES < sizes.keys;
    const Index at = lane.first(sizes.keys) + key * sizes.channels, asking = lane.first(sizes.queries);
    const Index rows = ((Index)blockIdx.z * gridDim.y + blockIdx.y) * sizes.queries;
    float of_key[V], of_value[V], dk[V] = {}, dv[V] = {};
    lane.take(k + at, of_key, 1.0f);
    lane.take(v + at, of_value, 1.0f);
    for (Index first = work.first; first < work.end; first += L::PIXELS) {
        const int count = (int)least((Index)L::PIXELS, work.end - first);
        __syncthreads();
        lane.load_tile(q + asking + first * sizes.channels, queries, count, sizes.scale);
        lane.load_tile(dy + asking + first * sizes.channels, pulls, count, 1.0f);
        for (int i = threadIdx.x; i < count; i += ATTENDING) {
            log[i] = logs[rows + first + i];
            mean[i] = means[rows + first + i];
        }
        __syncthreads();
        for (int i = 0; i < count; ++i) {
            const float weight = expf(lane.dot(of_key, queries + i * L::STRIDE) - log[i]);
            const float apart = lane.dot(of_value, pulls + i * L::STRIDE) - mean[i];
            lane.add(dk, weight * apart, queries + i * L::STRIDE);
            lane.add(dv, weight, pulls + i * L::STRIDE);
        }
    }
    if (!mine) return;
    const Index all = gridDim.z * sizes.keys * sizes.channels;
    lane.put(partials + 2 * work.slice * all + at, dk, 1.0f);
    lane.put(partials + (2 * work.slice + 1) * all + at, dv, 1.0f);
}

#define ATTENTION_KEYS(DEPTH, V, LANES, T, TYPE) \
    extern "C" __global__ void attention_keys_##DEPTH##_##TYPE( \
        const T* __restrict__ q, \
        const T* __restrict__ k, \
        const T* __restrict__ v, \
        const T* __restrict__ dy, \
        const float* __restrict__ logs, \
        const float* __restrict__ means, \
        float* __restrict__ partials, \
        Sizes sizes, \
        int slices \
    ) { \
        attention_keys<T, V, LANES>(q, k, v, dy, logs, means, partials, sizes, slices); \
    }

FOR_EVERY_DEPTH(ATTENTION_KEYS)

// The slices' sums of the keys' gradients, `count` values, and of the values' ones.
template <class T>
__device__ void total(const float* partials, T* dk, T* dv, Index count, int slices) {
    for (Index i = grid_thread(); i < 2 * count; i += grid_threads()) {
        float sum = 0.0f;
        for (int slice = 0; slice < slices; ++slice) sum += partials[2 * slice * count + i];
        *(i < count ? dk + i : dv + (i - count)) = from_float<T>(sum);
    }
}

extern "C" __global__ void attention_keys_total_f32(
    const float* __restrict__ partials, float* __restrict__ dk, float* __restrict__ dv, Index count, int slices
) {
    total(partials, dk, dv, count, slices);
}
extern "C" __global__ void attention_keys_total_bf16(
    const float* __restrict__ partials, bf16* __restrict__ dk, bf16* __restrict__ dv, Index count, int slices
) {
    total(partials, dk, dv, count, slices);
}
