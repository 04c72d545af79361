// Pooling, nearest-neighbour doubling, and joining of channels.

#include "pool.cuh"

// An image that is halved: `big` pixels lie on a `small` one in windows of 2 x 2. A pack of one small pixel's channels.
struct Window {
    Index image;
    int row, column, channel;
};

// Number `i` of all packs of images of `height` x `width` small pixels of `packs` packs of V channels.
template <int V>
__device__ inline Window window(Index i, int height, int width, int packs) {
    Window w;
    int pack;
    i = divide(i, packs, pack);
    i = divide(i, width, w.column);
    w.image = divide(i, height, w.row);
    w.channel = pack * V;
    return w;
}

// The values of a window in row-major order.
template <class T, int V>
__device__ inline void load_window(const T* first, Index row_values, int channels, float (&x)[4][V]) {
    load(first, x[0]);
    load(first + channels, x[1]);
    load(first + row_values, x[2]);
    load(first + row_values + channels, x[3]);
}

template <class T, int V>
__device__ void max_pool_as(const T* x, T* y, Index images, int height, int width, int channels) {
    const int out_height = height / 2, out_width = width / 2, packs = channels / V;
    const Index count = images * out_height * out_width * packs;
    for (Index i = grid_thread(); i < count; i += grid_threads()) {
        const Window w = window<V>(i, out_height, out_width, packs);
        float in[4][V];
        const T* first = x + place_of(w.image, height, width, channels, 2 * w.row, 2 * w.column, w.channel);
        load_window(first, (Index)width * channels, channels, in);
        for (int k = 0; k < V; ++k) {
            for (int n = 1; n < 4; ++n) in[0][k] = beats(in[n][k], in[0][k]) ? in[n][k] : in[0][k];
        }
        store(y + i * V, in[0]);
    }
}

template <class T>
__device__ void max_pool(const T* x, T* y, Index images, int height, int width, int channels) {
    if (channels % Pack<T>::SIZE == 0 && aligned(x, y)) {
        max_pool_as<T, Pack<T>::SIZE>(x, y, images, height, width, channels);
    } else {
        max_pool_as<T, 1>(x, y, images, height, width, channels);
    }
}

extern "C" __global__ void max_pool_f32(
    const float* __restrict__ x, float* __restrict__ y, Index images, int height, int width, int channels
) {
    max_pool(x, y, images, height, width, channels);
}
extern "C" __global__ void max_pool_bf16(
    const bf16* __restrict__ x, bf16* __restrict__ y, Index images, int height, int width, int channels
) {
    max_pool(x, y, images, height, width, channels);
}

// To the first maximum in row-major order. Windows that an odd last row or column leaves incomplete get 0.
template <class T, int V>
__device__ void max_pool_gradient_as(
    const T* x, const T* dy, T* dx, Index images, int height, int width, int channels
) {
    const int rows = (height + 1) / 2, columns = (width + 1) / 2, packs = channels / V;
    const Index count = images * rows * columns * packs, row_values = (Index)width * channels;
    for (Index i = grid_thread(); i < count; i += grid_threads()) {
        const Window w = window<V>(i, rows, columns, packs);
        const bool right = 2 * w.column + 1 < width, below = 2 * w.row + 1 < height;
        const Index first = place_of(w.image, height, width, channels, 2 * w.row, 2 * w.column, w.channel);
        float in[4][V] = {}, d[V];
        if (right && below) {
            load_window(x + first, row_values, channels, in);
            load(dy + place_of(w.image, height / 2, width / 2, channels, w.row, w.column, w.channel), d);
            for (int k = 0; k < V; ++k) {
                int best = 0;
                float highest = in[0][k];
                for (int n = 1; n < 4; ++n) {
                    const bool wins = beats(in[n][k], highest);
                    best = wins ? n : best;
                    highest = wins ? in[n][k] : highest;
                }
                for (int n = 0; n < 4; ++n) in[n][k] = n == best ? d[k] : 0.0f;
            }
        }
        store(dx + first, in[0]);
        if (right) store(dx + first + channels, in[1]);
        if (below) store(dx + first + row_values, in[2]);
        if (right && below) store(dx + first + row_values + channels, in[3]);
    }
}

template <class T>
__device__ void max_pool_gradient(const T* x, const T* dy, T* dx, Index images, int height, int width, int channels) {
    if (channels % Pack<T>::SIZE == 0 && aligned(x, dy, dx)) {
        max_pool_gradient_as<T, Pack<T>::SIZE>(x, dy, dx, images, height, width, channels);
    } else {
        max_pool_gradient_as<T, 1>(x, dy, dx, images, height, width, channels);
    }
}

extern "C" __global__ void max_pool_gradient_f32(
    const float* __restrict__ x,
    const float* __restrict__ dy,
    float* __restrict__ dx,
    Index images,
    int height,
    int width,
    int channels
) {
    max_pool_gradient(x, dy, dx, images, height, width, channels);
}
extern "C" __global__ void max_pool_gradient_bf16(
    const bf16* __restrict__ x,
    const bf16* __restrict__ dy,
    bf16* __restrict__ dx,
    Index images,
    int height,
    int width,
    int channels
) {
    max_pool_gradient(x, dy, dx, images, height, width, channels);
}

// A thread adds up a pack of an image's channels over all its pixels: the images are small and their channels many where a
// network asks for their mean.
template <class T, int V>
__device__ void mean_pool_as(const T* x, T* y, Index images, Index pixels, int channels) {
    const int packs = channels / V;
    const Index count = images * packs;
    const float share = 1.0f / (float)pixels;
    for (Index i = grid_thread(); i < count; i += grid_threads()) {
        int pack;
        const Index image = divide(i, packs, pack);
        const T* first = x + image * pixels * channels + pack * V;
        float sum[V] = {};
        for (Index p = 0; p < pixels; ++p) {
            float value[V];
            load(first + p * channels, value);
            for (int k = 0; k < V; ++k) sum[k] += value[k];
        }
        for (int k = 0; k < V; ++k) sum[k] *= share;
        store(y + i * V, sum);
    }
}

template <class T>
__device__ void mean_pool(const T* x, T* y, Index images, Index pixels, int channels) {
    if (channels % Pack<T>::SIZE == 0 && aligned(x, y)) {
        mean_pool_as<T, Pack<T>::SIZE>(x, y, images, pixels, channels);
    } else {
        mean_pool_as<T, 1>(x, y, images, pixels, channels);
    }
}

extern "C" __global__ void mean_pool_f32(
    const float* __restrict__ x, float* __restrict__ y, Index images, Index pixels, int channels
) {
    mean_pool(x, y, images, pixels, channels);
}
extern "C" __global__ void mean_pool_bf16(
    const bf16* __restrict__ x, bf16* __restrict__ y, Index images, Index pixels, int channels
) {
    mean_pool(x, y, images, pixels, channels);
}

template <class T, int V>
__device__ void mean_pool_gradient_as(const T* dy, T* dx, Index images, Index pixels, int channels) {
    const int packs = channels / V;
    const Index count = images * pixels * packs;
    const float share = 1.0f / (float)pixels;
    for (Index i = grid_thread(); i < count; i += grid_threads()) {
        int pack;
        const Index image = divide(i, packs, pack) / pixels;
        float value[V];
        load(dy + image * channels + pack * V, value);
        for (int k = 0; k < V; ++k) value[k] *= share;
        store(dx + i * V, value);
    }
}

template <class T>
__device__ void mean_pool_gradient(const T* dy, T* dx, Index images, Index pixels, int channels) {
    if (channels % Pack<T>::SIZE == 0 && aligned(dy, dx)) {
        mean_pool_gradient_as<T, Pack<T>::SIZE>(dy, dx, images, pixels, channels);
    } else {
        mean_pool_gradient_as<T, 1>(dy, dx, images, pixels, channels);
    }
}

extern "C" __global__ void mean_pool_gradient_f32(
    const float* __restrict__ dy, float* __restrict__ dx, Index images, Index pixels, int channels
) {
    mean_pool_gradient(dy, dx, images, pixels, channels);
}
extern "C" __global__ void mean_pool_gradient_bf16(
    const bf16* __restrict__ dy, bf16* __restrict__ dx, Index images, Index pixels, int channels
) {
    mean_pool_gradient(dy, dx, images, pixels, channels);
}

// Sizes are those of the smaller image, here and in the gradient.
template <class T, int V>
__device__ void double_as(const T* x, T* y, Index images, int height, int width, int channels) {
    const int packs = channels / V;
    const Index count = images * height * width * packs, row_values = 2 * (Index)width * channels;
    for (Index i = grid_thread(); i < count; i += grid_threads()) {
        const Window w = window<V>(i, height, width, packs);
        float value[V];
        load(x + i * V, value);
        T* first = y + place_of(w.image, 2 * height, 2 * width, channels, 2 * w.row, 2 * w.column, w.channel);
        store(first, value);
        store(first + channels, value);
        store(first + row_values, value);
        store(first + row_values + channels, value);
    }
}

template <class T, int V>
__device__ void double_gradient_as(const T* dy, T* dx, Index images, int height, int width, int channels) {
    const int packs = channels / V;
    const Index count = images * height * width * packs, row_values = 2 * (Index)width * channels;
    for (Index i = grid_thread(); i < count; i += grid_threads()) {
        const Window w = window<V>(i, height, width, packs);
        const T* first = dy + place_of(w.image, 2 * height, 2 * width, channels, 2 * w.row, 2 * w.column, w.channel);
        float in[4][V];
        load_window(first, row_values, channels, in);
        for (int k = 0; k < V; ++k) in[0][k] = (in[0][k] + in[1][k]) + (in[2][k] + in[3][k]);
        store(dx + i * V, in[0]);
    }
}

template <class T>
__device__ void double_image(const T* x, T* y, Index images, int height, int width, int channels) {
    if (channels % Pack<T>::SIZE == 0 && aligned(x, y)) {
        double_as<T, Pack<T>::SIZE>(x, y, images, height, width, channels);
    } else {
        double_as<T, 1>(x, y, images, height, width, channels);
    }
}

template <class T>
__device__ void double_gradient(const T* dy, T* dx, Index images, int height, int width, int channels) {
    if (channels % Pack<T>::SIZE == 0 && aligned(dy, dx)) {
        double_gradient_as<T, Pack<T>::SIZE>(dy, dx, images, height, width, channels);
    } else {
        double_gradient_as<T, 1>(dy, dx, images, height, width, channels);
    }
}

extern "C" __global__ void upsample_nearest_f32(
    const float* __restrict__ x, float* __restrict__ y, Index images, int height, int width, int channels
) {
    double_image(x, y, images, height, width, channels);
}
extern "C" __global__ void upsample_nearest_bf16(
    const bf16* __restrict__ x, bf16* __restrict__ y, Index images, int height, int width, int channels
) {
    double_image(x, y, images, height, width, channels);
}
extern "C" __global__ void upsample_nearest_gradient_f32(
    const float* __restrict__ dy, float* __restrict__ dx, Index images, int height, int width, int channels
) {
    double_gradient(dy, dx, images, height, width, channels);
}
extern "C" __global__ void upsample_nearest_gradient_bf16(
    const bf16* __restrict__ dy, bf16* __restrict__ dx, Index images, int height, int width, int channels
) {
    double_gradient(dy, dx, images, height, width, channels);
}
