// The real types behind cuDNN's handles.
#pragma once

#include <cudnn.h>

#include <cstddef>

#include "services.h"

struct cudnnContext {
    cudaStream_t stream = nullptr;
};
// Always in the order n, c, h, w; without a type it was never set.
struct cudnnTensorStruct {
    bool set = false;
    cudnnDataType_t type{};
    int size[4]{};
    int step[4]{};
};
// In the order k, c, h, w.
struct cudnnFilterStruct {
    bool set = false;
    cudnnDataType_t type{};
    cudnnTensorFormat_t format{};
    int size[4]{};
};
struct cudnnConvolutionStruct {
    bool set = false;
    int pad[2]{};
    int stride[2]{};
    int dilation[2]{};
    int groups = 1;
    cudnnConvolutionMode_t mode{};
    cudnnDataType_t compute{};
    cudnnMathType_t math = CUDNN_DEFAULT_MATH;
};
struct cudnnActivationStruct {
    cudnnActivationMode_t mode{};
    double limit = 0;
};

namespace emulate {

inline size_t type_size(cudnnDataType_t type) {
    switch (type) {
        case CUDNN_DATA_DOUBLE: return 8;
        case CUDNN_DATA_FLOAT: return 4;
        case CUDNN_DATA_BFLOAT16:
        case CUDNN_DATA_HALF: return 2;
        default: return 1;
    }
}

// Elements from the first to behind the last.
inline size_t extent(const cudnnTensorStruct& t) {
    size_t last = 0;
    for (int i = 0; i < 4; i++) {
        last += static_cast<size_t>(t.size[i] - 1) * static_cast<size_t>(t.step[i]);
    }
    return last + 1;
}

}  // namespace emulate
