// What is done value by value.

#include "common.cuh"

// `out[i] = f(in[0][i], ..)` for `count` values.
template <int V, int INPUTS, class In, class Out, class F>
__device__ void map_as(const In* const (&in)[INPUTS], Out* out, Index first, Index count, F f) {
    const Index step = grid_threads() * V;
    for (Index i = first + grid_thread() * V; i + V <= count; i += step) {
        float values[INPUTS][V], result[V];
        for (int n = 0; n < INPUTS; ++n) load(in[n] + i, values[n]);
        for (int k = 0; k < V; ++k) {
            float operands[INPUTS];
            for (int n = 0; n < INPUTS; ++n) operands[n] = values[n][k];
            result[k] = f(operands);
        }
        store(out + i, result);
    }
}

template <int INPUTS, class In, class Out, class F>
__device__ void map(const In* const (&in)[INPUTS], Out* out, Index count, F f) {
    const int V = sizeof(In) == sizeof(Out) ? Pack<In>::SIZE : 4;
    bool packs = aligned(out);
    for (int n = 0; n < INPUTS; ++n) packs = packs && aligned(in[n]);
    const Index tail = packs ? count / V * V : 0;
    if (packs) map_as<V>(in, out, 0, count, f);
    map_as<1>(in, out, tail, count, f);
}

template <class F, class T>
__device__ inline void map1(const T* x, T* y, Index count) {
    const T* const in[1] = {x};
    map(in, y, count, F());
}

template <class F, class T>
__device__ inline void map2(const T* a, const T* b, T* y, Index count) {
    const T* const in[2] = {a, b};
    map(in, y, count, F());
}

// `in[0]` where the last operand is above 0, else 0.
struct Gate {
    __device__ float operator()(const float (&in)[1]) const { return in[0] > 0.0f ? in[0] : 0.0f; }
    __device__ float operator()(const float (&in)[2]) const { return in[1] > 0.0f ? in[0] : 0.0f; }
};

struct Sum {
    __device__ float operator()(const float (&in)[2]) const { return in[0] + in[1]; }
};

// The sum, or 0 where it is negative. NaN comes through.
struct GatedSum {
    __device__ float operator()(const float (&in)[2]) const {
        const float sum = in[0] + in[1];
        return sum < 0.0f ? 0.0f : sum;
    }
};

// The standard normal distribution. By the complement of the error function: `1 + erf` has no digits left where `x` is far
// below 0.
__device__ inline float distribution(float x) { return erfcf(x * -0.707106781186547524f) * 0.5f; }

struct Gelu {
    __device__ float operator()(const float (&in)[1]) const { return in[0] * distribution(in[0]); }
};

// Of the gradient and `x`.
struct GeluGradient {
    __device__ float operator()(const float (&in)[2]) const {
        const float x = in[1], density = expf(x * x * -0.5f) * 0.398942280401432678f;
        return in[0] * (distribution(x) + x * density);
    }
};

struct Same {
    __device__ float operator()(const float (&in)[1]) const { return in[0]; }
};

struct Scale {
    float by;
    __device__ float operator()(const float (&in)[1]) const { return in[0] * by; }
};

template <class T>
__device__ inline void scale(const T* x, float by, T* y, Index count) {
    const T* const in[1] = {x};
    map(in, y, count, Scale{by});
}

extern "C" __global__ void relu_f32(const float* __restrict__ x, float* __restrict__ y, Index count) {
    map1<Gate>(x, y, count);
}
extern "C" __global__ void relu_bf16(const bf16* __restrict__ x, bf16* __restrict__ y, Index count) {
    map1<Gate>(x, y, count);
}
extern "C" __global__ void relu_gradient_f32(
    const float* __restrict__ dy, const float* __restrict__ x, float* __restrict__ dx, Index count
) {
    map2<Gate>(dy, x, dx, count);
}
extern "C" __global__ void relu_gradient_bf16(
    const bf16* __restrict__ dy, const bf16* __restrict__ x, bf16* __restrict__ dx, Index count
) {
    map2<Gate>(dy, x, dx, count);
}

extern "C" __global__ void gelu_f32(const float* __restrict__ x, float* __restrict__ y, Index count) {
    map1<Gelu>(x, y, count);
}
extern "C" __global__ void gelu_bf16(const bf16* __restrict__ x, bf16* __restrict__ y, Index count) {
    map1<Gelu>(x, y, count);
}
extern "C" __global__ void gelu_gradient_f32(
    const float* __restrict__ dy, const float* __restrict__ x, float* __restrict__ dx, Index count
) {
    map2<GeluGradient>(dy, x, dx, count);
}
extern "C" __global__ void gelu_gradient_bf16(
    const bf16* __restrict__ dy, const bf16* __restrict__ x, bf16* __restrict__ dx, Index count
) {
    map2<GeluGradient>(dy, x, dx, count);
}

extern "C" __global__ void add_f32(
    const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ sum, Index count
) {
    map2<Sum>(a, b, sum, count);
}
extern "C" __global__ void add_bf16(const bf16* __restrict__ a, const bf16* __restrict__ b, bf16* __restrict__ sum, Index count) {
    map2<Sum>(a, b, sum, count);
}

extern "C" __global__ void add_relu_f32(
    const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ sum, Index count
) {
    map2<GatedSum>(a, b, sum, count);
}
extern "C" __global__ void add_relu_bf16(
    const bf16* __restrict__ a, const bf16* __restrict__ b, bf16* __restrict__ sum, Index count
) {
    map2<GatedSum>(a, b, sum, count);
}

extern "C" __global__ void scale_f32(const float* __restrict__ x, float* __restrict__ y, float by, Index count) {
    scale(x, by, y, count);
}
extern "C" __global__ void scale_bf16(const bf16* __restrict__ x, bf16* __restrict__ y, float by, Index count) {
    scale(x, by, y, count);
}
// As `scale`, by a factor that the GPU knows.
extern "C" __global__ void scale_by_f32(
    const float* __restrict__ x, const float* __restrict__ by, float* __restrict__ y, Index count
) {
    scale(x, *by, y, count);
}
extern "C" __global__ void scale_by_bf16(
    const bf16* __restrict__ x, const float* __restrict__ by, bf16* __restrict__ y, Index count
) {
    scale(x, *by, y, count);
}

// bf16 to f32 and back.
extern "C" __global__ void widen(const bf16* __restrict__ x, float* __restrict__ y, Index count) {
    const bf16* const in[1] = {x};
    map(in, y, count, Same());
}
extern "C" __global__ void narrow(const float* __restrict__ x, bf16* __restrict__ y, Index count) {
    const float* const in[1] = {x};
    map(in, y, count, Same());
}
