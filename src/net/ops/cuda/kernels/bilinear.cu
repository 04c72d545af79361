// Bilinear resampling. Both axes are lists of where a place comes from, made by a kernel of their own in f64 as on the CPU;
// the gradient gathers over the same lists, so that nothing is added by two threads.

#include "common.cuh"

// A place along an axis of `out` places is `near * [before] + far * [before + 1]` of the `size` places that it comes from;
// where `far` is 0 there may be no such place.
struct Blend {
    int before;
    float near, far;
};

__device__ inline Blend blend(int place, int size, int out, int align_corners) {
    double source;
    if (align_corners) {
        source = (double)place * (size - 1) / (out > 1 ? out - 1 : 1);
    } else {
        source = ((double)place + 0.5) * size / out - 0.5;
        if (source < 0.0) source = 0.0;
    }
    const int before = source >= size - 1 ? size - 1 : (int)source;
    const double part = source - before;
    if (before == size - 1 || part == 0.0) return {before, 1.0f, 0.0f};
    return {before, (float)(1.0 - part), (float)part};
}

// `axis`: `out` blends. `first`: for each of `size` places the first place of the axis that comes from it or from one after
// it; and at the end `out`.
extern "C" __global__ void bilinear_axis(
    Blend* __restrict__ axis, int* __restrict__ first, int size, int out, int align_corners
) {
    for (Index i = grid_thread(); i < out; i += grid_threads()) axis[i] = blend((int)i, size, out, align_corners);
    for (Index i = grid_thread(); i <= size; i += grid_threads()) {
        int low = 0, high = out;
        while (low < high) {
            const int middle = low + (high - low) / 2;
            if (blend(middle, size, out, align_corners).before < (int)i) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        first[i] = low;
    }
}

// `sum += values * weight`.
template <class T, int V>
__device__ inline void add_scaled(float (&sum)[V], const T* values, float weight) {
    float v[V];
    load(values, v);
    for (int k = 0; k < V; ++k) sum[k] += v[k] * weight;
}

// A column of two source rows, weighted.
template <class T, int V>
__device__ inline void add_column(float (&sum)[V], const T* top, Index row_values, const Blend& row, float weight) {
    float column[V] = {};
    add_scaled(column, top, row.near);
    if (row.far != 0.0f) add_scaled(column, top + row_values, row.far);
    for (int k = 0; k < V; ++k) sum[k] += column[k] * weight;
}

struct Sizes {
    Index images;
    int height, width, out_height, out_width, channels;
};

template <class T, int V>
__device__ void bilinear_as(const T* x, const Blend* rows, const Blend* columns, T* y, const Sizes& s) {
    const int packs = s.channels / V;
    const Index count = s.images * s.out_height * s.out_width * packs, row_values = (Index)s.width * s.channels;
    for (Index i = grid_thread(); i < count; i += grid_threads()) {
        int pack, column_at, row_at;
        Index image = divide(i, packs, pack);
        image = divide(image, s.out_width, column_at);
        image = divide(image, s.out_height, row_at);
        const Blend row = rows[row_at], column = columns[column_at];
        const T* at = x + (image * s.height + row.before) * row_values + (Index)column.before * s.channels + pack * V;
        float sum[V] = {};
        add_column(sum, at, row_values, row, column.near);
        if (column.far != 0.0f) add_column(sum, at + s.channels, row_values, row, column.far);
        store(y + i * V, sum);
    }
}

template <class T>
__device__ void bilinear(const T* x, const Blend* rows, const Blend* columns, T* y, const Sizes& s) {
    if (s.channels % Pack<T>::SIZE == 0 && aligned(x, y)) {
        bilinear_as<T, Pack<T>::SIZE>(x, rows, columns, y, s);
    } else {
        bilinear_as<T, 1>(x, rows, columns, y, s);
    }
}

extern "C" __global__ void bilinear_f32(
    const float* __restrict__ x,
    const Blend* __restrict__ rows,
    const Blend* __restrict__ columns,
    float* __restrict__ y,
    Index images,
    int height,
    int width,
    int out_height,
    int out_width,
    int channels
) {
    bilinear(x, rows, columns, y, Sizes{images, height, width, out_height, out_width, channels});
}
extern "C" __global__ void bilinear_bf16(
    const bf16* __restrict__ x,
    const Blend* __restrict__ rows,
    const Blend* __restrict__ columns,
    bf16* __restrict__ y,
    Index images,
    int height,
    int width,
    int out_height,
    int out_width,
    int channels
) {
    bilinear(x, rows, columns, y, Sizes{images, height, width, out_height, out_width, channels});
}

// How much of source place `place` went to a place of the axis.
__device__ inline float weight_of(const Blend& blend, int place) { return blend.before == place ? blend.near : blend.far; }

template <class T, int V>
__device__ void bilinear_gradient_as(
    const T* dy, const Blend* rows, const int* row_first, const Blend* columns, const int* column_first, T* dx, const Sizes& s
) {
    const int packs = s.channels / V;
    const Index count = s.images * s.height * s.width * packs, row_values = (Index)s.out_width * s.channels;
    for (Index i = grid_thread(); i < count; i += grid_threads()) {
        int pack, column, row;
        Index image = divide(i, packs, pack);
        image = divide(image, s.width, column);
        image = divide(image, s.height, row);
        const T* from = dy + image * s.out_height * row_values + pack * V;
        const int row_start = row_first[row > 0 ? row - 1 : 0], row_end = row_first[row + 1];
        const int column_start = column_first[column > 0 ? column - 1 : 0], column_end = column_first[column + 1];
        float sum[V] = {};
        for (int c = column_start; c < column_end; ++c) {
            const float weight = weight_of(columns[c], column);
            if (weight == 0.0f) continue;
            float blended[V] = {};
            for (int r = row_start; r < row_end; ++r) {
                const float row_weight = weight_of(rows[r], row);
                if (row_weight == 0.0f) continue;
                add_scaled(blended, from + r * row_values + (Index)c * s.channels, row_weight);
            }
            for (int k = 0; k < V; ++k) sum[k] += blended[k] * weight;
        }
        store(dx + i * V, sum);
    }
}

template <class T>
__device__ void bilinear_gradient(
    const T* dy, const Blend* rows, const int* row_first, const Blend* columns, const int* column_first, T* dx, const Sizes& s
) {
    if (s.channels % Pack<T>::SIZE == 0 && aligned(dy, dx)) {
        bilinear_gradient_as<T, Pack<T>::SIZE>(dy, rows, row_first, columns, column_first, dx, s);
    } else {
        bilinear_gradient_as<T, 1>(dy, rows, row_first, columns, column_first, dx, s);
    }
}

extern "C" __global__ void bilinear_gradient_f32(
    const float* __restrict__ dy,
    const Blend* __restrict__ rows,
    const int* __restrict__ row_first,
    const Blend* __restrict__ columns,
    const int* __restrict__ column_first,
    float* __restrict__ dx,
    Index images,
    int height,
    int width,
    int out_height,
    int out_width,
    int channels
) {
    const Sizes sizes{images, height, width, out_height, out_width, channels};
    bilinear_gradient(dy, rows, row_first, columns, column_first, dx, sizes);
}
extern "C" __global__ void bilinear_gradient_bf16(
    const bf16* __restrict__ dy,
    const Blend* __restrict__ rows,
    const int* __restrict__ row_first,
    const Blend* __restrict__ columns,
    const int* __restrict__ column_first,
    bf16* __restrict__ dx,
    Index images,
    int height,
    int width,
    int out_height,
    int out_width,
    int channels
) {
    const Sizes sizes{images, height, width, out_height, out_width, channels};
    bilinear_gradient(dy, rows, row_first, columns, column_first, dx, sizes);
}
