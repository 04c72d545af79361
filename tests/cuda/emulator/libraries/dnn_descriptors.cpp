// cuDNN's handle and descriptors.
#include <cstdio>

#include "dnn.h"

namespace {

bool known(cudnnDataType_t type) {
    return type == CUDNN_DATA_FLOAT || type == CUDNN_DATA_DOUBLE || type == CUDNN_DATA_HALF || type == CUDNN_DATA_BFLOAT16;
}

// Of tensors without gaps, in the order n, c, h, w.
void steps(cudnnTensorFormat_t format, const int size[4], int step[4]) {
    const int c = size[1], h = size[2], w = size[3];
    if (format == CUDNN_TENSOR_NHWC) {
        const int made[4] = {c * h * w, 1, w * c, c};
        for (int i = 0; i < 4; i++) step[i] = made[i];
    } else {
        const int made[4] = {c * h * w, h * w, w, 1};
        for (int i = 0; i < 4; i++) step[i] = made[i];
    }
}

cudnnStatus_t set(cudnnTensorStruct* tensor, cudnnDataType_t type, const int size[4], const int step[4]) {
    if (tensor == nullptr || !known(type)) {
        return CUDNN_STATUS_BAD_PARAM;
    }
    for (int i = 0; i < 4; i++) {
        if (size[i] <= 0 || step[i] <= 0) {
            return CUDNN_STATUS_BAD_PARAM;
        }
        tensor->size[i] = size[i];
        tensor->step[i] = step[i];
    }
    tensor->set = true;
    tensor->type = type;
    return CUDNN_STATUS_SUCCESS;
}

template <typename T>
cudnnStatus_t create(T** made) {
    if (made == nullptr) {
        return CUDNN_STATUS_BAD_PARAM;
    }
    *made = new T;
    return CUDNN_STATUS_SUCCESS;
}

template <typename T>
cudnnStatus_t destroy(T* made) {
    delete made;
    return CUDNN_STATUS_SUCCESS;
}

}  // namespace

extern "C" {

size_t cudnnGetVersion() { return CUDNN_VERSION; }
size_t cudnnGetCudartVersion() { return 13000; }
cudnnStatus_t cudnnGraphVersionCheck() { return CUDNN_STATUS_SUCCESS; }
cudnnStatus_t cudnnOpsVersionCheck() { return CUDNN_STATUS_SUCCESS; }
cudnnStatus_t cudnnCnnVersionCheck() { return CUDNN_STATUS_SUCCESS; }
cudnnStatus_t cudnnAdvVersionCheck() { return CUDNN_STATUS_SUCCESS; }

const char* cudnnGetErrorString(cudnnStatus_t status) {
    switch (status) {
        case CUDNN_STATUS_SUCCESS: return "CUDNN_STATUS_SUCCESS";
        case CUDNN_STATUS_NOT_INITIALIZED: return "CUDNN_STATUS_NOT_INITIALIZED";
        case CUDNN_STATUS_BAD_PARAM: return "CUDNN_STATUS_BAD_PARAM";
        case CUDNN_STATUS_NOT_SUPPORTED: return "CUDNN_STATUS_NOT_SUPPORTED";
        case CUDNN_STATUS_EXECUTION_FAILED: return "CUDNN_STATUS_EXECUTION_FAILED";
        default: return "CUDNN_STATUS_INTERNAL_ERROR";
    }
}

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
    return s2pipe_emulate_ready() == 0 ? create(handle) : CUDNN_STATUS_NOT_INITIALIZED;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) { return destroy(handle); }
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
    handle->stream = stream;
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnGetStream(cudnnHandle_t handle, cudaStream_t* stream) {
    *stream = handle->stream;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t* tensor) { return create(tensor); }
cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t tensor) { return destroy(tensor); }

cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t tensor, cudnnTensorFormat_t format, cudnnDataType_t type,
                                         int n, int c, int h, int w) {
    const int size[4] = {n, c, h, w};
    int step[4];
    steps(format, size, step);
    return format == CUDNN_TENSOR_NCHW_VECT_C ? CUDNN_STATUS_NOT_SUPPORTED : set(tensor, type, size, step);
}
cudnnStatus_t cudnnSetTensor4dDescriptorEx(cudnnTensorDescriptor_t tensor, cudnnDataType_t type, int n, int c, int h, int w,
                                           int n_step, int c_step, int h_step, int w_step) {
    const int size[4] = {n, c, h, w}, step[4] = {n_step, c_step, h_step, w_step};
    return set(tensor, type, size, step);
}
cudnnStatus_t cudnnSetTensorNdDescriptor(cudnnTensorDescriptor_t tensor, cudnnDataType_t type, int count, const int size[],
                                         const int step[]) {
    // Three dimensions in space are not emulated; fewer than four in all are refused by cuDNN as well.
    return count < 4 ? CUDNN_STATUS_BAD_PARAM : count > 4 ? CUDNN_STATUS_NOT_SUPPORTED : set(tensor, type, size, step);
}
cudnnStatus_t cudnnSetTensorNdDescriptorEx(cudnnTensorDescriptor_t tensor, cudnnTensorFormat_t format, cudnnDataType_t type,
                                           int count, const int size[]) {
    return count < 4   ? CUDNN_STATUS_BAD_PARAM
           : count > 4 ? CUDNN_STATUS_NOT_SUPPORTED
                       : cudnnSetTensor4dDescriptor(tensor, format, type, size[0], size[1], size[2], size[3]);
}
cudnnStatus_t cudnnGetTensorSizeInBytes(const cudnnTensorDescriptor_t tensor, size_t* bytes) {
    *bytes = emulate::extent(*tensor) * emulate::type_size(tensor->type);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t* filter) { return create(filter); }
cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t filter) { return destroy(filter); }

cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t filter, cudnnDataType_t type, cudnnTensorFormat_t format,
                                         int k, int c, int h, int w) {
    const int size[4] = {k, c, h, w};
    if (filter == nullptr || !known(type) || (format != CUDNN_TENSOR_NCHW && format != CUDNN_TENSOR_NHWC)) {
        return CUDNN_STATUS_BAD_PARAM;
    }
    for (int i = 0; i < 4; i++) {
        if (size[i] <= 0) {
            return CUDNN_STATUS_BAD_PARAM;
        }
        filter->size[i] = size[i];
    }
    filter->set = true;
    filter->type = type;
    filter->format = format;
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetFilterNdDescriptor(cudnnFilterDescriptor_t filter, cudnnDataType_t type, cudnnTensorFormat_t format,
                                         int count, const int size[]) {
    return count < 4   ? CUDNN_STATUS_BAD_PARAM
           : count > 4 ? CUDNN_STATUS_NOT_SUPPORTED
                       : cudnnSetFilter4dDescriptor(filter, type, format, size[0], size[1], size[2], size[3]);
}

cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t* how) { return create(how); }
cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t how) { return destroy(how); }

cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t how, int pad_h, int pad_w, int stride_h,
                                              int stride_w, int dilation_h, int dilation_w, cudnnConvolutionMode_t mode,
                                              cudnnDataType_t compute) {
    if (how == nullptr || pad_h < 0 || pad_w < 0 || stride_h <= 0 || stride_w <= 0 || dilation_h <= 0 || dilation_w <= 0 ||
        !known(compute)) {
        return CUDNN_STATUS_BAD_PARAM;
    }
    how->set = true;
    how->pad[0] = pad_h, how->pad[1] = pad_w;
    how->stride[0] = stride_h, how->stride[1] = stride_w;
    how->dilation[0] = dilation_h, how->dilation[1] = dilation_w;
    how->mode = mode;
    how->compute = compute;
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetConvolutionNdDescriptor(cudnnConvolutionDescriptor_t how, int count, const int pad[],
                                              const int stride[], const int dilation[], cudnnConvolutionMode_t mode,
                                              cudnnDataType_t compute) {
    return count != 2 ? CUDNN_STATUS_NOT_SUPPORTED
                      : cudnnSetConvolution2dDescriptor(how, pad[0], pad[1], stride[0], stride[1], dilation[0], dilation[1],
                                                        mode, compute);
}
cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t how, cudnnMathType_t math) {
    how->math = math;
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnGetConvolutionMathType(cudnnConvolutionDescriptor_t how, cudnnMathType_t* math) {
    *math = how->math;
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t how, int groups) {
    how->groups = groups;
    return groups > 0 ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;
}
cudnnStatus_t cudnnGetConvolutionGroupCount(cudnnConvolutionDescriptor_t how, int* groups) {
    *groups = how->groups;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnCreateActivationDescriptor(cudnnActivationDescriptor_t* activation) { return create(activation); }
cudnnStatus_t cudnnDestroyActivationDescriptor(cudnnActivationDescriptor_t activation) { return destroy(activation); }
cudnnStatus_t cudnnSetActivationDescriptor(cudnnActivationDescriptor_t activation, cudnnActivationMode_t mode,
                                           cudnnNanPropagation_t, double limit) {
    activation->mode = mode;
    activation->limit = limit;
    return CUDNN_STATUS_SUCCESS;
}

}  // extern "C"
