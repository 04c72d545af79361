// Attention, forward and to the queries: every run of threads has a query. Grids are (blocks over the queries, heads, images).

#include "attention.cuh"

// The query of this run; runs behind the last query work on the last, since all have to wait for the tiles, and write nothing.
template <int RUNS, int LANES>
__device__ inline Index query_of(const Sizes& sizes, bool& mine) {
    const Index query = (Index)blockIdx.x * RUNS + threadIdx.x / LANES;
    mine = query < sizes.queries;
    return mine ? query : sizes.queries - 1;
}

// Place of a query among the values that a head has one of for each.
__device__ inline Index row_of(const Sizes& sizes, Index query) {
    return ((Index)blockIdx.z * gridDim.y + blockIdx.y) * sizes.queries + query;
}

// `y: [N, queries, C]`, and `logs: [N, heads, queries]`, the logarithms of the sums of exponentials.
template <class T, int V, int LANES>
__device__ void attention(const T* q, const T* k, const T* v, T* y, float* logs, Sizes sizes) {
    typedef Lane<V, LANES> L;
    alignas(16) __shared__ float keys[TILE];
    alignas(16) __shared__ float values[TILE];
    const L lane(sizes, gridDim.y);
    bool mine;
    const Index query = query_of<L::RUNS, LANES>(sizes, mine), at = lane.first(sizes.queries) + query * sizes.channels;
    const Index seen = lane.first(sizes.keys);
    float of_query[V], mean[V] = {};
    lane.take(q + at, of_query, sizes.scale);
    // The highest product so far, and the sum of exponentials of what the products lie below it.
    float most = __uint_as_float(0xff800000u), sum = 0.0f;
    for (Index first = 0; first < sizes.keys; first += L::PIXELS) {
        const int count = (int)least((Index)L::PIXELS, sizes.keys - first);
        __syncthreads();
        lane.load_tile(k + seen + first * sizes.channels, keys, count, 1.0f);
        lane.load_tile(v + seen + first * sizes.channels, values, count, 1.0f);
        __syncthreads();
        for (int key = 0; key < count; ++key) {
            const float product = lane.dot(of_query, keys + key * L::STRIDE);
            if (product > most) {
                const float less = expf(most - product);
                sum *= less;
                for (int i = 0; i < V; ++i) mean[i] *= less;
                most = product;
            }
            const float weight = expf(product - most);
            sum += weight;
            lane.add(mean, weight, values + key * L::STRIDE);
        }
    }
    if (!mine) return;
    lane.put(y + at, mean, 1.0f / sum);
    if (lane.lane == 0) logs[row_of(sizes, query)] = most + logf(sum);
}

// With the weights `p` and their gradients `dp = dy . v`: `dq = scale * sum over keys of p * (dp - mean) * k`, where
// `mean = sum over keys of p * dp = dy . y` goes to `means: [N, heads, queries]`.
template <class T, int V, int LANES>
__device__ void attention_queries(
    const T* q, const T* k, const T* v, const T* y, const T* dy, const float* logs, float* means, T* dq, Sizes sizes
) {
    typedef Lane<V, LANES> L;
    alignas(16) __shared__ float keys[TILE];
    alignas(16) __shared__ float values[TILE];
    const L lane(sizes, gridDim.y);
    bool mine;
    const Index query = query_of<L::RUNS, LANES>(sizes, mine), at = lane.first(sizes.queries) + query * sizes.channels;
    const Index seen = lane.first(sizes.keys), row = row_of(sizes, query);
    float of_query[V], pull[V], slope[V] = {};
    lane.take(y + at, of_query, 1.0f);
    lane.take(dy + at, pull, 1.0f);
    float mean = 0.0f;
    for (int i = 0; i < V; ++i) mean = fmaf(of_query[i], pull[i], mean);
    mean = L::total(mean);
    lane.take(q + at, of_query, sizes.scale);
    const float log = logs[row];
    for (Index first = 0; first < sizes.keys; first += L::PIXELS) {
        const int count = (int)least((Index)L::PIXELS, sizes.keys - first);
        __syncthreads();
        lane.load_tile(k + seen + first * sizes.channels, keys, count, 1.0f);
        lane.load_tile(v + seen + first * sizes.channels, values, count, 1.0f);
        __syncthreads();
        for (int key = 0; key < count; ++key) {
            const float weight = expf(lane.dot(of_query, keys + key * L::STRIDE) - log);
            const float apart = lane.dot(pull, values + key * L::STRIDE) - mean;
            lane.add(slope, weight * apart, keys + key * L::STRIDE);
        }
    }
    if (!mine) return;
    lane.put(dq + at, slope, sizes.scale);
    if (lane.lane == 0) means[row] = mean;
}

#define ATTENTION(DEPTH, V, LANES, T, TYPE) \
    extern "C" __global__ void attention_##DEPTH##_##TYPE( \
        const T* __restrict__ q, \
        const T* __restrict__ k, \
        const T* __restrict__ v, \
        T* __restrict__ y, \
        float* __restrict__ logs, \
        Sizes sizes \
    ) { \
        attention<T, V, LANES>(q, k, v, y, logs, sizes); \
    } \
    extern "C" __global__ void attention_queries_##DEPTH##_##TYPE( \
        const T* __restrict__ q, \
        const T* __restrict__ k, \
        const T* __restrict__ v, \
        const T* __restrict__ y, \
        const T* __restrict__ dy, \
        const float* __restrict__ logs, \
        float* __restrict__ means, \
        T* __restrict__ dq, \
        Sizes sizes \
    ) { \
        attention_queries<T, V, LANES>(q, k, v, y, dy, logs, means, dq, sizes); \
    }

FOR_EVERY_DEPTH(ATTENTION)
