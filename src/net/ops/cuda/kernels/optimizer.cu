// The optimiser: all parameters in a few launches, and no number on the host. Every launch takes up to TENSORS tensors;
// blockIdx.y is the tensor, and the blocks of a row share out its values.

#include "common.cuh"

// Tensors a launch.
constexpr int TENSORS = 40;

struct Tensors {
    float* parameter[TENSORS];
    float* first[TENSORS];
    float* second[TENSORS];
    const float* gradient[TENSORS];
    long long count[TENSORS];
    // 1 where weight decay applies.
    long long decays[TENSORS];
};

// What a training carries from step to step on the device.
struct State {
    // Sum of loss times labelled pixels since the epoch began.
    double loss_sum;
    // Of the last step.
    double loss;
    double norm;
    // What gradients are multiplied by in this step.
    double scale;
    // The first step whose loss or gradients were not finite, from 1; nothing changes from then on. Its loss and norm.
    double bad_step;
    double bad_loss;
    double bad_norm;
};

// Sums of squares of the gradients: partial[tensor * gridDim.x + block].
extern "C" __global__ void gradient_squares(Tensors tensors, double* __restrict__ partial, int first_tensor) {
    __shared__ double sums[THREADS];
    const int tensor = blockIdx.y;
    const float* gradient = tensors.gradient[tensor];
    const long long count = tensors.count[tensor];
    const long long step = static_cast<long long>(gridDim.x) * THREADS;
    double sum = 0.0;
    for (long long i = static_cast<long long>(blockIdx.x) * THREADS + threadIdx.x; i < count; i += step) {
        const double value = gradient[i];
        sum += value * value;
    }
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) {
            sums[threadIdx.x] += sums[threadIdx.x + half];
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        partial[static_cast<long long>(first_tensor + tensor) * gridDim.x + blockIdx.x] = sums[0];
    }
}

// The norm, what it is clipped by, and whether the step may be taken. One block.
extern "C" __global__ void begin_step(const double* __restrict__ partial, int partials, const float* __restrict__ loss,
                                      double labelled, double max_norm, double step, State* __restrict__ state) {
    __shared__ double sums[THREADS];
    double sum = 0.0;
    for (int i = threadIdx.x; i < partials; i += THREADS) {
        sum += partial[i];
    }
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) {
            sums[threadIdx.x] += sums[threadIdx.x + half];
        }
        __syncthreads();
    }
    if (threadIdx.x != 0 || state->bad_step != 0.0) {
        return;
    }
    const double norm = sqrt(sums[0]);
    const double value = *loss;
    if (!isfinite(value) || !isfinite(norm)) {
        state->bad_step = step;
        state->bad_loss = value;
        state->bad_norm = norm;
        return;
    }
    state->loss = value;
    state->loss_sum += value * labelled;
    state->norm = norm;
    // The small addend keeps a norm of 0 from dividing by zero, as on the CPU.
    const double factor = max_norm / (norm + 1e-6);
    state->scale = max_norm > 0.0 && factor < 1.0 ? factor : 1.0;
}

// AdamW, by the same formula as on the CPU, in the same order.
extern "C" __global__ void adamw(Tensors tensors, const State* __restrict__ state, float keep, float fresh1, float keep2,
                                 float fresh2, float step_size, float root_correction2, float eps) {
    if (state->bad_step != 0.0) {
        return;
    }
    const int tensor = blockIdx.y;
    float* __restrict__ parameter = tensors.parameter[tensor];
    float* __restrict__ first = tensors.first[tensor];
    float* __restrict__ second = tensors.second[tensor];
    const float* __restrict__ gradient = tensors.gradient[tensor];
    const long long count = tensors.count[tensor];
    const float decay = tensors.decays[tensor] ? keep : 1.0f;
    const float scale = static_cast<float>(state->scale);
    const long long step = static_cast<long long>(gridDim.x) * THREADS;
    for (long long i = static_cast<long long>(blockIdx.x) * THREADS + threadIdx.x; i < count; i += step) {
        const float g = gradient[i] * scale;
        const float m = first[i] + (g - first[i]) * fresh1;
        const float v = second[i] * keep2 + g * g * fresh2;
        first[i] = m;
        second[i] = v;
        const float root = sqrtf(v) / root_correction2 + eps;
        parameter[i] = parameter[i] * decay - step_size * (m / root);
    }
}

// SGD with momentum, by the same formula as on the CPU, in the same order. The running sum is the first moment.
extern "C" __global__ void sgd(Tensors tensors, const State* __restrict__ state, float lr, float momentum, float ahead,
                               float direct, float weight_decay) {
    if (state->bad_step != 0.0) {
        return;
    }
    const int tensor = blockIdx.y;
    float* __restrict__ parameter = tensors.parameter[tensor];
    float* __restrict__ sum = tensors.first[tensor];
    const float* __restrict__ gradient = tensors.gradient[tensor];
    const long long count = tensors.count[tensor];
    const float decay = tensors.decays[tensor] ? weight_decay : 0.0f;
    const float scale = static_cast<float>(state->scale);
    const long long step = static_cast<long long>(gridDim.x) * THREADS;
    for (long long i = static_cast<long long>(blockIdx.x) * THREADS + threadIdx.x; i < count; i += step) {
        const float g = gradient[i] * scale + decay * parameter[i];
        sum[i] = sum[i] * momentum + g;
        parameter[i] -= lr * (g * direct + ahead * sum[i]);
    }
}

// sum += part, of losses or gradients of the parts of a batch; part is first multiplied by `share`.
extern "C" __global__ void add_share(float* __restrict__ sum, const float* __restrict__ part, float share, long long count) {
    const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
    for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
        sum[i] += part[i] * share;
    }
}

// Moves running averages towards the values, `keep` of the difference being left.
extern "C" __global__ void follow(float* __restrict__ average, const float* __restrict__ value, float keep, long long count) {
    const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
    for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
        average[i] = value[i] + keep * (average[i] - value[i]);
    }
}
