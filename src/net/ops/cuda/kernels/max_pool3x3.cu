// The 3x3 maximum with stride 2 and a border of one pixel that does not count: window (r, c) lies around pixel (2r, 2c).

#include "pool.cuh"

// An image, and how many windows lie on it.
struct Pooling {
    int height, width, channels, out_height, out_width;
};

__device__ inline Pooling pooling(int height, int width, int channels) {
    return {height, width, channels, (height + 1) / 2, (width + 1) / 2};
}

// The pixels or windows from `first` up to, but not including, `end`.
struct Span {
    int first, end;
};

// Pixels along an axis of `size` that a window sees.
__device__ inline Span seen(int window, int size) { return {window > 0 ? 2 * window - 1 : 0, least(2 * window + 2, size)}; }

// Windows along an axis of `windows` that see a pixel: one, or two where they meet.
__device__ inline Span seeing(int pixel, int windows) { return {pixel / 2, least((pixel + 1) / 2 + 1, windows)}; }

// Place of a pixel in a window that sees it, in row-major order.
__device__ inline int tap(int row, int column, int window_row, int window_column) {
    return (row + 1 - 2 * window_row) * 3 + column + 1 - 2 * window_column;
}

// A window's maxima of V channels from `channel` on, and the taps of the first of each.
template <class T, int V>
__device__ inline void maxima(
    const T* x,
    const Pooling& p,
    Index image,
    int window_row,
    int window_column,
    int channel,
    float (&highest)[V],
    int (&taps)[V]
) {
    const Span rows = seen(window_row, p.height), columns = seen(window_column, p.width);
    for (int row = rows.first; row < rows.end; ++row) {
        for (int column = columns.first; column < columns.end; ++column) {
            const bool first = row == rows.first && column == columns.first;
            const int here = tap(row, column, window_row, window_column);
            float value[V];
            load(x + place_of(image, p.height, p.width, p.channels, row, column, channel), value);
            for (int k = 0; k < V; ++k) {
                const bool wins = first || beats(value[k], highest[k]);
                highest[k] = wins ? value[k] : highest[k];
                taps[k] = wins ? here : taps[k];
            }
        }
    }
}

template <class T, int V>
__device__ void max_pool3x3_as(const T* x, T* y, Index images, const Pooling& p) {
    const int packs = p.channels / V;
    const Index count = images * p.out_height * p.out_width * packs;
    for (Index i = grid_thread(); i < count; i += grid_threads()) {
        int pack, row, column;
        const Index pixel = divide(i, packs, pack);
        const Index image = divide(divide(pixel, p.out_width, column), p.out_height, row);
        float highest[V] = {};
        int taps[V] = {};
        maxima<T, V>(x, p, image, row, column, pack * V, highest, taps);
        store(y + i * V, highest);
    }
}

template <class T>
__device__ void max_pool3x3(const T* x, T* y, Index images, int height, int width, int channels) {
    const Pooling p = pooling(height, width, channels);
    if (channels % Pack<T>::SIZE == 0 && aligned(x, y)) {
        max_pool3x3_as<T, Pack<T>::SIZE>(x, y, images, p);
    } else {
        max_pool3x3_as<T, 1>(x, y, images, p);
    }
}

extern "C" __global__ void max_pool3x3_f32(
    const float* __restrict__ x, float* __restrict__ y, Index images, int height, int width, int channels
) {
    max_pool3x3(x, y, images, height, width, channels);
}
extern "C" __global__ void max_pool3x3_bf16(
    const bf16* __restrict__ x, bf16* __restrict__ y, Index images, int height, int width, int channels
) {
    max_pool3x3(x, y, images, height, width, channels);
}

// Every pixel asks the windows that see it, in row-major order, whether it is their first maximum: no two threads add to one
// place, so the sums have the same bits in every run.
template <class T, int V>
__device__ void max_pool3x3_gradient_as(const T* x, const T* dy, T* dx, Index images, const Pooling& p) {
    const int packs = p.channels / V;
    const Index count = images * p.height * p.width * packs;
    for (Index i = grid_thread(); i < count; i += grid_threads()) {
        int pack, row, column;
        const Index pixel = divide(i, packs, pack);
        const Index image = divide(divide(pixel, p.width, column), p.height, row);
        const Span rows = seeing(row, p.out_height), columns = seeing(column, p.out_width);
        float sum[V] = {};
        for (int r = rows.first; r < rows.end; ++r) {
            for (int c = columns.first; c < columns.end; ++c) {
                float highest[V] = {}, d[V];
                int taps[V] = {};
                maxima<T, V>(x, p, image, r, c, pack * V, highest, taps);
                load(dy + place_of(image, p.out_height, p.out_width, p.channels, r, c, pack * V), d);
                const int here = tap(row, column, r, c);
                for (int k = 0; k < V; ++k) sum[k] += taps[k] == here ? d[k] : 0.0f;
            }
        }
        store(dx + i * V, sum);
    }
}

template <class T>
__device__ void max_pool3x3_gradient(
    const T* x, const T* dy, T* dx, Index images, int height, int width, int channels
) {
    const Pooling p = pooling(height, width, channels);
    if (channels % Pack<T>::SIZE == 0 && aligned(x, dy, dx)) {
        max_pool3x3_gradient_as<T, Pack<T>::SIZE>(x, dy, dx, images, p);
    } else {
        max_pool3x3_gradient_as<T, 1>(x, dy, dx, images, p);
    }
}

extern "C" __global__ void max_pool3x3_gradient_f32(
    const float* __restrict__ x,
    const float* __restrict__ dy,
    float* __restrict__ dx,
    Index images,
    int height,
    int width,
    int channels
) {
    max_pool3x3_gradient(x, dy, dx, images, height, width, channels);
}
extern "C" __global__ void max_pool3x3_gradient_bf16(
    const bf16* __restrict__ x,
    const bf16* __restrict__ dy,
    bf16* __restrict__ dx,
    Index images,
    int height,
    int width,
    int channels
) {
    max_pool3x3_gradient(x, dy, dx, images, height, width, channels);
}
