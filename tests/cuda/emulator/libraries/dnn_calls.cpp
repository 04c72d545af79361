// cuDNN's convolutions: what it would refuse is refused, the rest goes to convolve.cpp.
#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <mutex>

#include "convolve.h"
#include "number.h"

using namespace emulate;

namespace {

struct Algorithm {
    int number;
    bool deterministic;
    bool workspace;
};

// The fastest first, by no measure but so that the first is not the one that may be taken.
constexpr Algorithm FORWARD[] = {{CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, true, true},
                                 {CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, true, false}};
constexpr Algorithm DATA[] = {{CUDNN_CONVOLUTION_BWD_DATA_ALGO_0, false, false},
                              {CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, true, true}};
constexpr Algorithm FILTER[] = {{CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0, false, false},
                                {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1, true, true},
                                {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3, false, true}};

// In order: what calls convolve, and its buffers.
std::mutex lock;
// Calls of algorithms that are not deterministic: each adds up in another order than the one before.
size_t turns = 0;

const Algorithm* algorithm(Direction direction, int number) {
    const Algorithm *from = FORWARD, *end = std::end(FORWARD);
    if (direction == Direction::Data) {
        from = DATA, end = std::end(DATA);
    } else if (direction == Direction::Filter) {
        from = FILTER, end = std::end(FILTER);
    }
    const Algorithm* found = std::find_if(from, end, [=](const Algorithm& a) { return a.number == number; });
    return found == end ? nullptr : found;
}

[[gnu::format(printf, 2, 3)]] cudnnStatus_t refuse(cudnnStatus_t status, const char* why, ...) {
    va_list arguments;
    va_start(arguments, why);
    fputs("emulated cuDNN: ", stderr);
    vfprintf(stderr, why, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return status;
}

int output_size(const Convolution& c, int axis) {
    const int reach = (c.w.size[2 + axis] - 1) * c.how.dilation[axis] + 1;
    return (c.x.size[2 + axis] + 2 * c.how.pad[axis] - reach) / c.how.stride[axis] + 1;
}

// Whether the channels of a pixel lie side by side, or the pixels of a channel; with one channel or one pixel both.
bool channels_last(const cudnnTensorStruct& t) { return t.step[1] == 1 || t.size[1] == 1; }
bool channels_first(const cudnnTensorStruct& t) {
    return (t.step[3] == 1 || t.size[3] == 1) && (t.step[2] >= t.size[3] || t.size[2] == 1) &&
           (t.size[1] == 1 || t.step[1] >= t.size[2] * t.size[3]);
}

cudnnStatus_t check(const Convolution& c) {
    if (!c.x.set || !c.w.set || !c.how.set || !c.y.set) {
        return refuse(CUDNN_STATUS_BAD_PARAM, "a descriptor was never set");
    }
    if (c.x.type != c.w.type || c.x.type != c.y.type) {
        return refuse(CUDNN_STATUS_BAD_PARAM, "tensors of different types");
    }
    if (c.x.type == CUDNN_DATA_HALF) {
        return refuse(CUDNN_STATUS_NOT_SUPPORTED, "f16 is not emulated");
    }
    if (c.how.compute != (c.x.type == CUDNN_DATA_DOUBLE ? CUDNN_DATA_DOUBLE : CUDNN_DATA_FLOAT)) {
        return refuse(CUDNN_STATUS_NOT_SUPPORTED,
                      "sums of a type that does not fit the tensors: f32 for f32 and bf16, f64 for f64");
    }
    if (c.w.size[1] * c.how.groups != c.x.size[1] || c.w.size[0] % c.how.groups != 0) {
        return refuse(CUDNN_STATUS_BAD_PARAM, "filters %dx%d in %d groups for %d channels", c.w.size[0], c.w.size[1],
                      c.how.groups, c.x.size[1]);
    }
    if (c.y.size[0] != c.x.size[0] || c.y.size[1] != c.w.size[0] || c.y.size[2] != output_size(c, 0) ||
        c.y.size[3] != output_size(c, 1)) {
        return refuse(CUDNN_STATUS_BAD_PARAM, "the output is %dx%dx%dx%d, not %dx%dx%dx%d", c.x.size[0], c.w.size[0],
                      output_size(c, 0), output_size(c, 1), c.y.size[0], c.y.size[1], c.y.size[2], c.y.size[3]);
    }
    const bool last = c.w.format == CUDNN_TENSOR_NHWC;
    const bool fits = last ? channels_last(c.x) && channels_last(c.y) : channels_first(c.x) && channels_first(c.y);
    if (!fits) {
        return refuse(CUDNN_STATUS_NOT_SUPPORTED, "filters and images of different layouts");
    }
    return CUDNN_STATUS_SUCCESS;
}

size_t workspace(const Convolution& c, const Algorithm& a) {
    return a.workspace ? 4096 + 16 * static_cast<size_t>(c.w.size[0]) : 0;
}

bool on_device(const void* at, size_t bytes, const char* what) {
    if (s2pipe_emulate_is_device(at, bytes) != 0) {
        return true;
    }
    refuse(CUDNN_STATUS_BAD_PARAM, "%s is not %zu bytes of device memory", what, bytes);
    return false;
}

// alpha and beta are f32, for tensors of f64 too f64.
double factor(const cudnnTensorStruct& t, const void* at) {
    return t.type == CUDNN_DATA_DOUBLE ? *static_cast<const double*>(at) : *static_cast<const float*>(at);
}

const char* type_name(cudnnDataType_t type) {
    return type == CUDNN_DATA_DOUBLE ? "f64" : type == CUDNN_DATA_FLOAT ? "f32" : "bf16";
}

cudnnStatus_t run(Direction direction, const char* name, const Convolution& c, int number, const void* x, const void* w,
                  const void* y, void* space, size_t space_bytes, const Finish& finish) {
    if (const cudnnStatus_t refused = check(c); refused != CUDNN_STATUS_SUCCESS) {
        return refused;
    }
    const Algorithm* chosen = algorithm(direction, number);
    if (chosen == nullptr) {
        return refuse(CUDNN_STATUS_NOT_SUPPORTED, "algorithm %d is not there", number);
    }
    const size_t needed = workspace(c, *chosen);
    const size_t size = type_size(c.x.type);
    const size_t weights = static_cast<size_t>(c.w.size[0]) * static_cast<size_t>(c.w.size[1] * c.w.size[2] * c.w.size[3]);
    if (space_bytes < needed || !on_device(x, extent(c.x) * size, "the input") ||
        !on_device(w, weights * size, "the filter") || !on_device(y, extent(c.y) * size, "the output") ||
        (needed > 0 && !on_device(space, space_bytes, "the workspace"))) {
        return refuse(CUDNN_STATUS_BAD_PARAM, "%s: %zu bytes of workspace are needed, %zu given", name, needed, space_bytes);
    }
    char detail[160];
    snprintf(detail, sizeof detail, "%s algorithm %d input %dx%dx%dx%d filter %dx%dx%dx%d groups %d", type_name(c.x.type),
             number, c.x.size[0], c.x.size[1], c.x.size[2], c.x.size[3], c.w.size[0], c.w.size[1], c.w.size[2], c.w.size[3],
             c.how.groups);
    if (s2pipe_emulate_library_call(name, detail) != 0) {
        return CUDNN_STATUS_EXECUTION_FAILED;
    }
    if (needed > 0) {
        // It is used: what lies there is lost.
        memset(space, 0xff, needed);
    }
    std::lock_guard<std::mutex> guard(lock);
    const size_t turn = chosen->deterministic ? 0 : turns++;
    convolve(direction, c, const_cast<void*>(x), const_cast<void*>(w), const_cast<void*>(y), finish, turn);
    return CUDNN_STATUS_SUCCESS;
}

template <typename Perf, size_t count>
cudnnStatus_t list(const Convolution& c, const Algorithm (&algorithms)[count], int asked, int* returned, Perf* into) {
    if (asked < 1) {
        return CUDNN_STATUS_BAD_PARAM;
    }
    if (const cudnnStatus_t refused = check(c); refused != CUDNN_STATUS_SUCCESS) {
        return refused;
    }
    *returned = std::min(asked, static_cast<int>(count));
    for (int i = 0; i < *returned; i++) {
        const Algorithm& a = algorithms[i];
        into[i] = {};
        into[i].algo = static_cast<decltype(into->algo)>(a.number);
        into[i].status = CUDNN_STATUS_SUCCESS;
        into[i].time = static_cast<float>(i + 1);
        into[i].memory = workspace(c, a);
        into[i].determinism = a.deterministic ? CUDNN_DETERMINISTIC : CUDNN_NON_DETERMINISTIC;
        into[i].mathType = c.how.math;
    }
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t space(Direction direction, const Convolution& c, int number, size_t* bytes) {
    if (const cudnnStatus_t refused = check(c); refused != CUDNN_STATUS_SUCCESS) {
        return refused;
    }
    const Algorithm* chosen = algorithm(direction, number);
    if (chosen == nullptr) {
        return CUDNN_STATUS_NOT_SUPPORTED;
    }
    *bytes = workspace(c, *chosen);
    return CUDNN_STATUS_SUCCESS;
}

}  // namespace

extern "C" {

cudnnStatus_t cudnnGetConvolution2dForwardOutputDim(const cudnnConvolutionDescriptor_t how, const cudnnTensorDescriptor_t x,
                                                    const cudnnFilterDescriptor_t w, int* n, int* c, int* height,
                                                    int* width) {
    const Convolution convolution{*x, *w, *how, *x};
    *n = x->size[0];
    *c = w->size[0];
    *height = output_size(convolution, 0);
    *width = output_size(convolution, 1);
    return w->size[1] * how->groups == x->size[1] && *height > 0 && *width > 0 ? CUDNN_STATUS_SUCCESS
                                                                               : CUDNN_STATUS_BAD_PARAM;
}

cudnnStatus_t cudnnGetConvolutionForwardAlgorithmMaxCount(cudnnHandle_t, int* count) {
    *count = static_cast<int>(std::size(FORWARD));
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithmMaxCount(cudnnHandle_t, int* count) {
    *count = static_cast<int>(std::size(DATA));
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithmMaxCount(cudnnHandle_t, int* count) {
    *count = static_cast<int>(std::size(FILTER));
    return CUDNN_STATUS_SUCCESS;
}

// The order of the descriptors is another in each direction.
cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(cudnnHandle_t, const cudnnTensorDescriptor_t x,
                                                     const cudnnFilterDescriptor_t w, const cudnnConvolutionDescriptor_t how,
                                                     const cudnnTensorDescriptor_t y, const int asked, int* returned,
                                                     cudnnConvolutionFwdAlgoPerf_t* into) {
    return list({*x, *w, *how, *y}, FORWARD, asked, returned, into);
}
cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(cudnnHandle_t, const cudnnFilterDescriptor_t w,
                                                          const cudnnTensorDescriptor_t y,
                                                          const cudnnConvolutionDescriptor_t how,
                                                          const cudnnTensorDescriptor_t x, const int asked, int* returned,
                                                          cudnnConvolutionBwdDataAlgoPerf_t* into) {
    return list({*x, *w, *how, *y}, DATA, asked, returned, into);
}
cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(cudnnHandle_t, const cudnnTensorDescriptor_t x,
                                                            const cudnnTensorDescriptor_t y,
                                                            const cudnnConvolutionDescriptor_t how,
                                                            const cudnnFilterDescriptor_t w, const int asked, int* returned,
                                                            cudnnConvolutionBwdFilterAlgoPerf_t* into) {
    return list({*x, *w, *how, *y}, FILTER, asked, returned, into);
}

cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t, const cudnnTensorDescriptor_t x,
                                                      const cudnnFilterDescriptor_t w,
                                                      const cudnnConvolutionDescriptor_t how,
                                                      const cudnnTensorDescriptor_t y, cudnnConvolutionFwdAlgo_t number,
                                                      size_t* bytes) {
    return space(Direction::Forward, {*x, *w, *how, *y}, number, bytes);
}
cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(cudnnHandle_t, const cudnnFilterDescriptor_t w,
                                                           const cudnnTensorDescriptor_t y,
                                                           const cudnnConvolutionDescriptor_t how,
                                                           const cudnnTensorDescriptor_t x,
                                                           cudnnConvolutionBwdDataAlgo_t number, size_t* bytes) {
    return space(Direction::Data, {*x, *w, *how, *y}, number, bytes);
}
cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(cudnnHandle_t, const cudnnTensorDescriptor_t x,
                                                             const cudnnTensorDescriptor_t y,
                                                             const cudnnConvolutionDescriptor_t how,
                                                             const cudnnFilterDescriptor_t w,
                                                             cudnnConvolutionBwdFilterAlgo_t number, size_t* bytes) {
    return space(Direction::Filter, {*x, *w, *how, *y}, number, bytes);
}

// Trying them out takes a run of each on a GPU. The results' memory is overwritten by that, so it is here.
cudnnStatus_t cudnnFindConvolutionForwardAlgorithmEx(cudnnHandle_t, const cudnnTensorDescriptor_t x, const void*,
                                                     const cudnnFilterDescriptor_t w, const void*,
                                                     const cudnnConvolutionDescriptor_t how, const cudnnTensorDescriptor_t y,
                                                     void* at, const int asked, int* returned,
                                                     cudnnConvolutionFwdAlgoPerf_t* into, void*, size_t) {
    s2pipe_emulate_library_call("cudnn find", "forward");
    memset(at, 0xff, extent(*y) * type_size(y->type));
    return list({*x, *w, *how, *y}, FORWARD, asked, returned, into);
}
cudnnStatus_t cudnnFindConvolutionBackwardDataAlgorithmEx(cudnnHandle_t, const cudnnFilterDescriptor_t w, const void*,
                                                          const cudnnTensorDescriptor_t y, const void*,
                                                          const cudnnConvolutionDescriptor_t how,
                                                          const cudnnTensorDescriptor_t x, void* at, const int asked,
                                                          int* returned, cudnnConvolutionBwdDataAlgoPerf_t* into, void*,
                                                          size_t) {
    s2pipe_emulate_library_call("cudnn find", "backward data");
    memset(at, 0xff, extent(*x) * type_size(x->type));
    return list({*x, *w, *how, *y}, DATA, asked, returned, into);
}
cudnnStatus_t cudnnFindConvolutionBackwardFilterAlgorithmEx(cudnnHandle_t, const cudnnTensorDescriptor_t x, const void*,
                                                            const cudnnTensorDescriptor_t y, const void*,
                                                            const cudnnConvolutionDescriptor_t how,
                                                            const cudnnFilterDescriptor_t w, void* at, const int asked,
                                                            int* returned, cudnnConvolutionBwdFilterAlgoPerf_t* into, void*,
                                                            size_t) {
    s2pipe_emulate_library_call("cudnn find", "backward filter");
    memset(at, 0xff, static_cast<size_t>(w->size[0] * w->size[1] * w->size[2] * w->size[3]) * type_size(w->type));
    return list({*x, *w, *how, *y}, FILTER, asked, returned, into);
}

cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t, const void* alpha, const cudnnTensorDescriptor_t x, const void* x_at,
                                      const cudnnFilterDescriptor_t w, const void* w_at,
                                      const cudnnConvolutionDescriptor_t how, cudnnConvolutionFwdAlgo_t number, void* space,
                                      size_t bytes, const void* beta, const cudnnTensorDescriptor_t y, void* y_at) {
    const Finish finish{factor(*x, alpha), factor(*x, beta), nullptr, nullptr, false};
    return run(Direction::Forward, "cudnn forward", {*x, *w, *how, *y}, number, x_at, w_at, y_at, space, bytes, finish);
}

cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t, const void* alpha, const cudnnFilterDescriptor_t w,
                                           const void* w_at, const cudnnTensorDescriptor_t y, const void* y_at,
                                           const cudnnConvolutionDescriptor_t how, cudnnConvolutionBwdDataAlgo_t number,
                                           void* space, size_t bytes, const void* beta, const cudnnTensorDescriptor_t x,
                                           void* x_at) {
    const Finish finish{factor(*x, alpha), factor(*x, beta), nullptr, nullptr, false};
    return run(Direction::Data, "cudnn backward data", {*x, *w, *how, *y}, number, x_at, w_at, y_at, space, bytes, finish);
}

cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t, const void* alpha, const cudnnTensorDescriptor_t x,
                                             const void* x_at, const cudnnTensorDescriptor_t y, const void* y_at,
                                             const cudnnConvolutionDescriptor_t how, cudnnConvolutionBwdFilterAlgo_t number,
                                             void* space, size_t bytes, const void* beta, const cudnnFilterDescriptor_t w,
                                             void* w_at) {
    const Finish finish{factor(*x, alpha), factor(*x, beta), nullptr, nullptr, false};
    return run(Direction::Filter, "cudnn backward filter", {*x, *w, *how, *y}, number, x_at, w_at, y_at, space, bytes,
               finish);
}

cudnnStatus_t cudnnConvolutionBiasActivationForward(
    cudnnHandle_t, const void* alpha, const cudnnTensorDescriptor_t x, const void* x_at, const cudnnFilterDescriptor_t w,
    const void* w_at, const cudnnConvolutionDescriptor_t how, cudnnConvolutionFwdAlgo_t number, void* space, size_t bytes,
    const void* beta, const cudnnTensorDescriptor_t z, const void* z_at, const cudnnTensorDescriptor_t bias,
    const void* bias_at, const cudnnActivationDescriptor_t activation, const cudnnTensorDescriptor_t y, void* y_at) {
    const bool identity = activation->mode == CUDNN_ACTIVATION_IDENTITY;
    if (!identity && activation->mode != CUDNN_ACTIVATION_RELU) {
        return refuse(CUDNN_STATUS_NOT_SUPPORTED, "an activation that is neither the identity nor ReLU");
    }
    if (identity && number != CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM) {
        return refuse(CUDNN_STATUS_NOT_SUPPORTED, "without an activation only algorithm 1 adds a bias");
    }
    const bool fits = bias->size[0] == 1 && bias->size[1] == y->size[1] && bias->size[2] == 1 && bias->size[3] == 1 &&
                      bias->type == y->type && std::equal(z->size, z->size + 4, y->size) &&
                      std::equal(z->step, z->step + 4, y->step);
    if (!fits || !on_device(bias_at, static_cast<size_t>(bias->size[1]) * type_size(bias->type), "the bias")) {
        return refuse(CUDNN_STATUS_BAD_PARAM, "the bias or what is added does not fit the output");
    }
    const Finish finish{factor(*x, alpha), factor(*x, beta), z_at, bias_at, !identity};
    return run(Direction::Forward, "cudnn forward bias", {*x, *w, *how, *y}, number, x_at, w_at, y_at, space, bytes, finish);
}

}  // extern "C"
