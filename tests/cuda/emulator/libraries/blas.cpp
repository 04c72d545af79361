// cuBLAS' matrix products. Matrices are stored by columns.
#include <cublas_v2.h>

#include <mutex>
#include <vector>

#include "multiply.h"
#include "number.h"
#include "services.h"

using namespace emulate;

struct cublasContext {
    cudaStream_t stream = nullptr;
    cublasMath_t math = CUBLAS_DEFAULT_MATH;
    cublasPointerMode_t pointers = CUBLAS_POINTER_MODE_HOST;
};

namespace {

std::mutex lock;

struct Product {
    cublasOperation_t turn_a, turn_b;
    int m, n, k;
    double alpha, beta;
    int a_step, b_step, c_step;
    long long a_next, b_next, c_next;
    int count;
};

// Where the matrix of the batch starts; steps are in elements.
template <typename T>
T* start(void* at, long long next, int i) {
    return static_cast<T*>(at) + next * i;
}
template <typename T>
const T* start(const void* at, long long next, int i) {
    return static_cast<const T*>(at) + next * i;
}

template <typename T>
void run(const Product& p, const void* a_at, const void* b_at, void* c_at) {
    using S = decltype(widen(T{}));
    const size_t m = static_cast<size_t>(p.m), n = static_cast<size_t>(p.n), k = static_cast<size_t>(p.k);
    std::vector<S> a(m * k), b(k * n), c(m * n);
    for (int i = 0; i < p.count; i++) {
        const T* left = start<T>(a_at, p.a_next, i);
        const T* right = start<T>(b_at, p.b_next, i);
        T* into = start<T>(c_at, p.c_next, i);
        for (size_t row = 0; row < m; row++) {
            for (size_t d = 0; d < k; d++) {
                a[row * k + d] = widen(left[p.turn_a == CUBLAS_OP_N ? row + d * static_cast<size_t>(p.a_step)
                                                                    : d + row * static_cast<size_t>(p.a_step)]);
            }
        }
        for (size_t d = 0; d < k; d++) {
            for (size_t column = 0; column < n; column++) {
                b[d * n + column] = widen(right[p.turn_b == CUBLAS_OP_N ? d + column * static_cast<size_t>(p.b_step)
                                                                        : column + d * static_cast<size_t>(p.b_step)]);
            }
        }
        c.assign(m * n, S{0});
        multiply(m, n, k, View<S>{a.data(), k, 1}, b.data(), n, c.data(), n);
        for (size_t column = 0; column < n; column++) {
            for (size_t row = 0; row < m; row++) {
                T& at = into[row + column * static_cast<size_t>(p.c_step)];
                const S old = p.beta == 0 ? S{0} : static_cast<S>(p.beta) * widen(at);
                narrow(static_cast<S>(p.alpha) * c[row * n + column] + old, at);
            }
        }
    }
}

cublasStatus_t product(cudaDataType type, const Product& p, const void* a, const void* b, void* c) {
    const int a_rows = p.turn_a == CUBLAS_OP_N ? p.m : p.k, b_rows = p.turn_b == CUBLAS_OP_N ? p.k : p.n;
    if (p.m < 0 || p.n < 0 || p.k < 0 || p.count < 0 || p.a_step < a_rows || p.b_step < b_rows || p.c_step < p.m) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    if (type != CUDA_R_32F && type != CUDA_R_64F && type != CUDA_R_16BF) {
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    if (s2pipe_emulate_library_call("cublas gemm", "") != 0) {
        return CUBLAS_STATUS_EXECUTION_FAILED;
    }
    std::lock_guard<std::mutex> guard(lock);
    switch (type) {
        case CUDA_R_64F: run<double>(p, a, b, c); break;
        case CUDA_R_32F: run<float>(p, a, b, c); break;
        default: run<Bf16>(p, a, b, c);
    }
    return CUBLAS_STATUS_SUCCESS;
}

double factor(cublasComputeType_t type, const void* at) {
    return type == CUBLAS_COMPUTE_64F ? *static_cast<const double*>(at) : *static_cast<const float*>(at);
}

bool same(cudaDataType a, cudaDataType b, cudaDataType c, cublasComputeType_t compute) {
    const bool f64 = compute == CUBLAS_COMPUTE_64F;
    const bool f32 = compute == CUBLAS_COMPUTE_32F || compute == CUBLAS_COMPUTE_32F_FAST_TF32 ||
                     compute == CUBLAS_COMPUTE_32F_FAST_16BF || compute == CUBLAS_COMPUTE_32F_PEDANTIC;
    return a == b && b == c && (a == CUDA_R_64F ? f64 : f32);
}

}  // namespace

extern "C" {

cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
    if (s2pipe_emulate_ready() != 0) {
        return CUBLAS_STATUS_NOT_INITIALIZED;
    }
    *handle = new cublasContext;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream) {
    handle->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGetStream_v2(cublasHandle_t handle, cudaStream_t* stream) {
    *stream = handle->stream;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t math) {
    handle->math = math;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGetMathMode(cublasHandle_t handle, cublasMath_t* math) {
    *math = handle->math;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetPointerMode_v2(cublasHandle_t, cublasPointerMode_t mode) {
    return mode == CUBLAS_POINTER_MODE_HOST ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}
cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t, void*, size_t) { return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasGetVersion_v2(cublasHandle_t, int* version) {
    *version = CUBLAS_VERSION;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t, cublasOperation_t turn_a, cublasOperation_t turn_b, int m, int n,
                                          int k, const void* alpha, const void* a, cudaDataType a_type, int a_step,
                                          long long a_next, const void* b, cudaDataType b_type, int b_step, long long b_next,
                                          const void* beta, void* c, cudaDataType c_type, int c_step, long long c_next,
                                          int count, cublasComputeType_t compute, cublasGemmAlgo_t) {
    if (!same(a_type, b_type, c_type, compute)) {
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    const Product p{turn_a, turn_b, m,      n,      k,    factor(compute, alpha), factor(compute, beta), a_step, b_step,
                    c_step, a_next, b_next, c_next, count};
    return product(a_type, p, a, b, c);
}
cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t turn_a, cublasOperation_t turn_b, int m, int n, int k,
                            const void* alpha, const void* a, cudaDataType a_type, int a_step, const void* b,
                            cudaDataType b_type, int b_step, const void* beta, void* c, cudaDataType c_type, int c_step,
                            cublasComputeType_t compute, cublasGemmAlgo_t algorithm) {
    return cublasGemmStridedBatchedEx(handle, turn_a, turn_b, m, n, k, alpha, a, a_type, a_step, 0, b, b_type, b_step, 0,
                                      beta, c, c_type, c_step, 0, 1, compute, algorithm);
}
cublasStatus_t cublasSgemm_v2(cublasHandle_t, cublasOperation_t turn_a, cublasOperation_t turn_b, int m, int n, int k,
                              const float* alpha, const float* a, int a_step, const float* b, int b_step, const float* beta,
                              float* c, int c_step) {
    return product(CUDA_R_32F, {turn_a, turn_b, m, n, k, *alpha, *beta, a_step, b_step, c_step, 0, 0, 0, 1}, a, b, c);
}
cublasStatus_t cublasDgemm_v2(cublasHandle_t, cublasOperation_t turn_a, cublasOperation_t turn_b, int m, int n, int k,
                              const double* alpha, const double* a, int a_step, const double* b, int b_step,
                              const double* beta, double* c, int c_step) {
    return product(CUDA_R_64F, {turn_a, turn_b, m, n, k, *alpha, *beta, a_step, b_step, c_step, 0, 0, 0, 1}, a, b, c);
}
cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t, cublasOperation_t turn_a, cublasOperation_t turn_b, int m, int n,
                                         int k, const float* alpha, const float* a, int a_step, long long a_next,
                                         const float* b, int b_step, long long b_next, const float* beta, float* c,
                                         int c_step, long long c_next, int count) {
    return product(CUDA_R_32F,
                   {turn_a, turn_b, m, n, k, *alpha, *beta, a_step, b_step, c_step, a_next, b_next, c_next, count}, a, b, c);
}
cublasStatus_t cublasDgemmStridedBatched(cublasHandle_t, cublasOperation_t turn_a, cublasOperation_t turn_b, int m, int n,
                                         int k, const double* alpha, const double* a, int a_step, long long a_next,
                                         const double* b, int b_step, long long b_next, const double* beta, double* c,
                                         int c_step, long long c_next, int count) {
    return product(CUDA_R_64F,
                   {turn_a, turn_b, m, n, k, *alpha, *beta, a_step, b_step, c_step, a_next, b_next, c_next, count}, a, b, c);
}

}  // extern "C"
