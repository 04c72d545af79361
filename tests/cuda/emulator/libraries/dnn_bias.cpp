// cuDNN's addition of a bias, and the bias' gradient.
#include <vector>

#include "dnn.h"
#include "number.h"

using namespace emulate;

namespace {

template <typename Visit>
void for_elements(const cudnnTensorStruct& t, Visit visit) {
    int at[4];
    for (at[0] = 0; at[0] < t.size[0]; at[0]++) {
        for (at[1] = 0; at[1] < t.size[1]; at[1]++) {
            for (at[2] = 0; at[2] < t.size[2]; at[2]++) {
                for (at[3] = 0; at[3] < t.size[3]; at[3]++) {
                    visit(at);
                }
            }
        }
    }
}

// Where the element lies; a dimension of size one is the same for all.
size_t place(const cudnnTensorStruct& t, const int at[4]) {
    size_t sum = 0;
    for (int i = 0; i < 4; i++) {
        sum += t.size[i] == 1 ? 0 : static_cast<size_t>(at[i]) * static_cast<size_t>(t.step[i]);
    }
    return sum;
}

bool spreads(const cudnnTensorStruct& small, const cudnnTensorStruct& large) {
    bool fits = small.set && large.set && small.type == large.type && small.type != CUDNN_DATA_HALF;
    for (int i = 0; i < 4; i++) {
        fits = fits && (small.size[i] == 1 || small.size[i] == large.size[i]);
    }
    return fits;
}

template <typename T>
void add(const cudnnTensorStruct& a, const void* from, double alpha, const cudnnTensorStruct& c, void* into, double beta) {
    using S = decltype(widen(T{}));
    for_elements(c, [&](const int at[4]) {
        T& result = static_cast<T*>(into)[place(c, at)];
        const S old = beta == 0 ? S{0} : static_cast<S>(beta) * widen(result);
        narrow(old + static_cast<S>(alpha) * widen(static_cast<const T*>(from)[place(a, at)]), result);
    });
}

template <typename T>
void sum(const cudnnTensorStruct& y, const void* from, double alpha, const cudnnTensorStruct& b, void* into, double beta) {
    std::vector<double> sums(static_cast<size_t>(b.size[1]));
    for_elements(
        y, [&](const int at[4]) { sums[static_cast<size_t>(at[1])] += widen(static_cast<const T*>(from)[place(y, at)]); });
    using S = decltype(widen(T{}));
    for_elements(b, [&](const int at[4]) {
        T& result = static_cast<T*>(into)[place(b, at)];
        const double old = beta == 0 ? 0 : beta * widen(result);
        narrow(static_cast<S>(old + alpha * sums[static_cast<size_t>(at[1])]), result);
    });
}

double factor(const cudnnTensorStruct& t, const void* at) {
    return t.type == CUDNN_DATA_DOUBLE ? *static_cast<const double*>(at) : *static_cast<const float*>(at);
}

}  // namespace

extern "C" {

cudnnStatus_t cudnnAddTensor(cudnnHandle_t, const void* alpha, const cudnnTensorDescriptor_t a, const void* from,
                             const void* beta, const cudnnTensorDescriptor_t c, void* into) {
    if (!spreads(*a, *c)) {
        return CUDNN_STATUS_BAD_PARAM;
    }
    if (s2pipe_emulate_library_call("cudnn add", "") != 0) {
        return CUDNN_STATUS_EXECUTION_FAILED;
    }
    const double left = factor(*c, alpha), right = factor(*c, beta);
    switch (c->type) {
        case CUDNN_DATA_DOUBLE: add<double>(*a, from, left, *c, into, right); break;
        case CUDNN_DATA_FLOAT: add<float>(*a, from, left, *c, into, right); break;
        default: add<Bf16>(*a, from, left, *c, into, right);
    }
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnConvolutionBackwardBias(cudnnHandle_t, const void* alpha, const cudnnTensorDescriptor_t y,
                                           const void* from, const void* beta, const cudnnTensorDescriptor_t b, void* into) {
    if (!spreads(*b, *y) || b->size[0] != 1 || b->size[1] != y->size[1] || b->size[2] != 1 || b->size[3] != 1) {
        return CUDNN_STATUS_BAD_PARAM;
    }
    if (s2pipe_emulate_library_call("cudnn backward bias", "") != 0) {
        return CUDNN_STATUS_EXECUTION_FAILED;
    }
    const double left = factor(*y, alpha), right = factor(*y, beta);
    switch (y->type) {
        case CUDNN_DATA_DOUBLE: sum<double>(*y, from, left, *b, into, right); break;
        case CUDNN_DATA_FLOAT: sum<float>(*y, from, left, *b, into, right); break;
        default: sum<Bf16>(*y, from, left, *b, into, right);
    }
    return CUDNN_STATUS_SUCCESS;
}

}  // extern "C"
