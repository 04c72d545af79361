// cuDNN's convolutions against plain loops and against each other, what they refuse, and cuBLAS' products.
#include <cublas_v2.h>
#include <cudnn.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "check.h"

namespace {

#define FINE(call) CHECK((call) == CUDNN_STATUS_SUCCESS)

struct Case {
    int n, c, h, w, k, r, s, groups, pad, stride, dilation;
    bool last;
    int out(int size, int filter) const { return (size + 2 * pad - (filter - 1) * dilation - 1) / stride + 1; }
    int oh() const { return out(h, r); }
    int ow() const { return out(w, s); }
    cudnnTensorFormat_t format() const { return last ? CUDNN_TENSOR_NHWC : CUDNN_TENSOR_NCHW; }
    size_t place(int channels, int height, int width, int image, int channel, int row, int column) const {
        return static_cast<size_t>(last ? ((image * height + row) * width + column) * channels + channel
                                        : ((image * channels + channel) * height + row) * width + column);
    }
};

// Small, odd, and larger than what is computed at once.
const Case CASES[] = {
    {2, 3, 7, 9, 4, 3, 3, 1, 1, 1, 1, true},     {2, 3, 7, 9, 4, 3, 3, 1, 1, 1, 1, false},
    {1, 4, 8, 8, 6, 3, 3, 2, 1, 2, 1, true},     {1, 4, 8, 8, 6, 3, 3, 2, 1, 2, 1, false},
    {2, 5, 9, 6, 5, 3, 3, 5, 2, 1, 2, true},     {1, 6, 11, 11, 6, 5, 3, 3, 2, 3, 2, true},
    {2, 8, 6, 5, 16, 1, 1, 1, 0, 1, 1, true},    {1, 2, 6, 6, 3, 2, 2, 1, 0, 2, 1, true},
    {1, 24, 20, 31, 40, 3, 3, 1, 1, 1, 1, true}, {1, 16, 17, 17, 23, 1, 1, 1, 1, 1, 1, true},
    {3, 1, 5, 5, 1, 3, 3, 1, 1, 1, 1, true},     {2, 37, 18, 16, 37, 7, 7, 37, 3, 1, 1, true},
    {1, 4, 9, 8, 4, 3, 3, 4, 1, 2, 1, false},    {1, 4, 9, 8, 8, 3, 3, 4, 1, 1, 1, true},
};

struct Handles {
    cudnnHandle_t handle;
    cudnnTensorDescriptor_t x, y;
    cudnnFilterDescriptor_t w;
    cudnnConvolutionDescriptor_t how;

    Handles(const Case& v, cudnnDataType_t type) {
        FINE(cudnnCreate(&handle));
        FINE(cudnnCreateTensorDescriptor(&x));
        FINE(cudnnCreateTensorDescriptor(&y));
        FINE(cudnnCreateFilterDescriptor(&w));
        FINE(cudnnCreateConvolutionDescriptor(&how));
        FINE(cudnnSetTensor4dDescriptor(x, v.format(), type, v.n, v.c, v.h, v.w));
        FINE(cudnnSetTensor4dDescriptor(y, v.format(), type, v.n, v.k, v.oh(), v.ow()));
        FINE(cudnnSetFilter4dDescriptor(w, type, v.format(), v.k, v.c / v.groups, v.r, v.s));
        FINE(cudnnSetConvolution2dDescriptor(how, v.pad, v.pad, v.stride, v.stride, v.dilation, v.dilation,
                                             CUDNN_CROSS_CORRELATION,
                                             type == CUDNN_DATA_DOUBLE ? CUDNN_DATA_DOUBLE : CUDNN_DATA_FLOAT));
        FINE(cudnnSetConvolutionGroupCount(how, v.groups));
    }
};

std::vector<float> drawn(size_t count, unsigned seed) {
    std::mt19937 random(seed);
    std::vector<float> values(count);
    // Multiples of 1/8, exact in bf16 too, so that sums are exact in any order.
    std::generate(values.begin(), values.end(), [&] { return static_cast<float>(static_cast<int>(random() % 17) - 8) / 8; });
    return values;
}

std::vector<float> plain(const Case& v, const std::vector<float>& x, const std::vector<float>& w) {
    std::vector<float> y(static_cast<size_t>(v.n * v.k * v.oh() * v.ow()));
    const int group_c = v.c / v.groups, group_k = v.k / v.groups;
    for (int n = 0; n < v.n; n++)
        for (int k = 0; k < v.k; k++)
            for (int row = 0; row < v.oh(); row++)
                for (int column = 0; column < v.ow(); column++) {
                    double sum = 0;
                    for (int c = 0; c < group_c; c++)
                        for (int r = 0; r < v.r; r++)
                            for (int s = 0; s < v.s; s++) {
                                const int h = row * v.stride - v.pad + r * v.dilation,
                                          i = column * v.stride - v.pad + s * v.dilation;
                                if (h < 0 || h >= v.h || i < 0 || i >= v.w) continue;
                                sum += static_cast<double>(x[v.place(v.c, v.h, v.w, n, k / group_k * group_c + c, h, i)]) *
                                       static_cast<double>(w[v.place(group_c, v.r, v.s, k, c, r, s)]);
                            }
                    y[v.place(v.k, v.oh(), v.ow(), n, k, row, column)] = static_cast<float>(sum);
                }
    return y;
}

double dot(const std::vector<float>& a, const std::vector<float>& b) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); i++) {
        sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    }
    return sum;
}

// Values as they lie in memory, and back.
template <typename T>
std::vector<T> encode(const std::vector<float>& values) {
    return std::vector<T>(values.begin(), values.end());
}
template <>
std::vector<uint16_t> encode(const std::vector<float>& values) {
    std::vector<uint16_t> halves;
    for (const float value : values) {
        uint32_t bits;
        memcpy(&bits, &value, 4);
        halves.push_back(static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16));
    }
    return halves;
}
template <typename T>
std::vector<float> decode(const std::vector<T>& values) {
    return std::vector<float>(values.begin(), values.end());
}
template <>
std::vector<float> decode(const std::vector<uint16_t>& halves) {
    std::vector<float> values;
    for (const uint16_t half : halves) {
        const uint32_t bits = static_cast<uint32_t>(half) << 16;
        float value;
        memcpy(&value, &bits, 4);
        values.push_back(value);
    }
    return values;
}

bool near(const std::vector<float>& a, const std::vector<float>& b, double tolerance) {
    bool same = a.size() == b.size();
    for (size_t i = 0; same && i < a.size(); i++) {
        same = std::abs(a[i] - b[i]) <= tolerance * (1 + std::abs(b[i]));
    }
    return same;
}

template <typename T, typename Factor>
void convolutions(cudnnDataType_t type, double tolerance) {
    open_device();
    for (const Case& v : CASES) {
        for (int number = 0; number < 2; number++) {
            const Handles d(v, type);
            const std::vector<float> x = drawn(static_cast<size_t>(v.n * v.c * v.h * v.w), 1);
            const std::vector<float> w = drawn(static_cast<size_t>(v.k * v.c / v.groups * v.r * v.s), 2);
            const std::vector<float> dy = drawn(static_cast<size_t>(v.n * v.k * v.oh() * v.ow()), 3);
            const Device<T> x_at(encode<T>(x)), w_at(encode<T>(w)), dy_at(encode<T>(dy)), y_at(dy.size()), dx_at(x.size()),
                dw_at(w.size());
            const Device<char> space(1 << 16);
            const Factor one = 1, none = 0;
            size_t forward = 9, data = 9, filter = 9;
            FINE(cudnnGetConvolutionForwardWorkspaceSize(d.handle, d.x, d.w, d.how, d.y,
                                                         static_cast<cudnnConvolutionFwdAlgo_t>(number), &forward));
            FINE(cudnnGetConvolutionBackwardDataWorkspaceSize(d.handle, d.w, d.y, d.how, d.x,
                                                              static_cast<cudnnConvolutionBwdDataAlgo_t>(number), &data));
            FINE(cudnnGetConvolutionBackwardFilterWorkspaceSize(
                d.handle, d.x, d.y, d.how, d.w, static_cast<cudnnConvolutionBwdFilterAlgo_t>(number), &filter));
            CHECK((forward > 0) == (number == 1) && (data > 0) == (number == 1) && (filter > 0) == (number == 1));
            FINE(cudnnConvolutionForward(d.handle, &one, d.x, x_at.get(), d.w, w_at.get(), d.how,
                                         static_cast<cudnnConvolutionFwdAlgo_t>(number), space.get(), forward, &none, d.y,
                                         y_at.get()));
            FINE(cudnnConvolutionBackwardData(d.handle, &one, d.w, w_at.get(), d.y, dy_at.get(), d.how,
                                              static_cast<cudnnConvolutionBwdDataAlgo_t>(number), space.get(), data, &none,
                                              d.x, dx_at.get()));
            FINE(cudnnConvolutionBackwardFilter(d.handle, &one, d.x, x_at.get(), d.y, dy_at.get(), d.how,
                                                static_cast<cudnnConvolutionBwdFilterAlgo_t>(number), space.get(), filter,
                                                &none, d.w, dw_at.get()));
            const std::vector<float> expected = plain(v, x, w);
            CHECK(near(decode(y_at.read()), expected, tolerance));
            const double product = dot(expected, dy), scale = 1 + std::sqrt(dot(expected, expected) * dot(dy, dy));
            CHECK(std::abs(dot(x, decode(dx_at.read())) - product) < tolerance * scale);
            CHECK(std::abs(dot(w, decode(dw_at.read())) - product) < tolerance * scale);
            // Onto what is there.
            const Factor half = 0.5;
            FINE(cudnnConvolutionForward(d.handle, &half, d.x, x_at.get(), d.w, w_at.get(), d.how,
                                         static_cast<cudnnConvolutionFwdAlgo_t>(number), space.get(), forward, &half, d.y,
                                         y_at.get()));
            CHECK(near(decode(y_at.read()), expected, 2 * tolerance));
        }
    }
}

void convolutions_f32() { convolutions<float, float>(CUDNN_DATA_FLOAT, 1e-6); }
void convolutions_f64() { convolutions<double, double>(CUDNN_DATA_DOUBLE, 1e-6); }
void convolutions_bf16() { convolutions<uint16_t, float>(CUDNN_DATA_BFLOAT16, 0.008); }

void bias_and_activation() {
    open_device();
    const Case& v = CASES[8];
    const Handles d(v, CUDNN_DATA_FLOAT);
    const std::vector<float> x = drawn(static_cast<size_t>(v.n * v.c * v.h * v.w), 1);
    const std::vector<float> w = drawn(static_cast<size_t>(v.k * v.c * v.r * v.s), 2),
                             b = drawn(static_cast<size_t>(v.k), 3);
    std::vector<float> expected = plain(v, x, w);
    for (size_t i = 0; i < expected.size(); i++) {
        expected[i] = std::max(0.0f, expected[i] + b[i % static_cast<size_t>(v.k)]);
    }
    const Device<float> x_at(x), w_at(w), b_at(b), y_at(expected.size()), sums(b.size());
    cudnnActivationDescriptor_t relu;
    cudnnTensorDescriptor_t bias;
    FINE(cudnnCreateActivationDescriptor(&relu));
    FINE(cudnnSetActivationDescriptor(relu, CUDNN_ACTIVATION_RELU, CUDNN_NOT_PROPAGATE_NAN, 0));
    FINE(cudnnCreateTensorDescriptor(&bias));
    FINE(cudnnSetTensor4dDescriptor(bias, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, 1, v.k, 1, 1));
    const float one = 1, none = 0;
    FINE(cudnnConvolutionBiasActivationForward(d.handle, &one, d.x, x_at.get(), d.w, w_at.get(), d.how,
                                               CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, nullptr, 0, &none, d.y, y_at.get(),
                                               bias, b_at.get(), relu, d.y, y_at.get()));
    CHECK(near(y_at.read(), expected, 1e-6));
    FINE(cudnnConvolutionBackwardBias(d.handle, &one, d.y, y_at.get(), &none, bias, sums.get()));
    double sum = 0;
    for (const float value : sums.read()) {
        sum += value;
    }
    CHECK(std::abs(sum - dot(expected, std::vector<float>(expected.size(), 1))) < 1e-2);
}

void refused() {
    open_device();
    Case v = CASES[0];
    const Handles d(v, CUDNN_DATA_BFLOAT16);
    const Device<uint16_t> memory(1 << 16);
    const float one = 1, none = 0;
    const auto forward = [&](cudnnFilterDescriptor_t w, cudnnTensorDescriptor_t y, int number, size_t bytes) {
        return cudnnConvolutionForward(d.handle, &one, d.x, memory.get(), w, memory.get(), d.how,
                                       static_cast<cudnnConvolutionFwdAlgo_t>(number), memory.get() + 4096, bytes, &none, y,
                                       memory.get() + 8192);
    };
    FINE(forward(d.w, d.y, 0, 0));
    CHECK(forward(d.w, d.y, 1, 100) == CUDNN_STATUS_BAD_PARAM);
    CHECK(forward(d.w, d.y, 6, 100) == CUDNN_STATUS_NOT_SUPPORTED);
    CHECK(forward(d.w, d.x, 0, 0) == CUDNN_STATUS_BAD_PARAM);
    v.last = false;
    const Handles first(v, CUDNN_DATA_BFLOAT16), f32(CASES[0], CUDNN_DATA_FLOAT);
    CHECK(forward(first.w, d.y, 0, 0) == CUDNN_STATUS_NOT_SUPPORTED);
    CHECK(forward(f32.w, d.y, 0, 0) == CUDNN_STATUS_BAD_PARAM);
    FINE(cudnnSetConvolutionGroupCount(d.how, 3));
    CHECK(forward(d.w, d.y, 0, 0) == CUDNN_STATUS_BAD_PARAM);
    FINE(cudnnSetConvolutionGroupCount(d.how, 1));
    cudnnConvolutionBwdFilterAlgoPerf_t list[8];
    int count;
    FINE(cudnnGetConvolutionBackwardFilterAlgorithm_v7(d.handle, d.x, d.y, d.how, d.w, 8, &count, list));
    CHECK(count == 3 && list[0].determinism == CUDNN_NON_DETERMINISTIC && list[1].determinism == CUDNN_DETERMINISTIC);
    uint16_t host[4];
    CHECK(cudnnConvolutionForward(d.handle, &one, d.x, host, d.w, memory.get(), d.how,
                                  CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, nullptr, 0, &none, d.y,
                                  memory.get() + 8192) == CUDNN_STATUS_BAD_PARAM);
}

// What is not deterministic on a GPU differs here from one call to the next.
void not_deterministic() {
    open_device();
    const Case v = {4, 8, 40, 40, 8, 3, 3, 1, 1, 1, 1, true};
    const Handles d(v, CUDNN_DATA_FLOAT);
    std::vector<float> x = drawn(static_cast<size_t>(v.n * v.c * v.h * v.w), 1);
    for (float& value : x) {
        value = std::sin(value * 9);
    }
    const Device<float> x_at(x), dy_at(x), dw_at(static_cast<size_t>(v.k * v.c * 9));
    const Device<char> space(1 << 16);
    const float one = 1, none = 0;
    std::vector<float> results[2][2];
    for (int number = 0; number < 2; number++) {
        for (auto& result : results[number]) {
            FINE(cudnnConvolutionBackwardFilter(d.handle, &one, d.x, x_at.get(), d.y, dy_at.get(), d.how,
                                                static_cast<cudnnConvolutionBwdFilterAlgo_t>(number), space.get(), 1 << 16,
                                                &none, d.w, dw_at.get()));
            result = dw_at.read();
        }
    }
    CHECK(results[0][0] != results[0][1] && results[1][0] == results[1][1]);
    CHECK(near(results[0][0], results[1][0], 1e-3));
}

void products() {
    open_device();
    cublasHandle_t handle;
    CHECK(cublasCreate(&handle) == CUBLAS_STATUS_SUCCESS);
    const int m = 7, n = 21, k = 13, count = 2;
    const std::vector<float> a = drawn(m * k * count, 1), b = drawn(k * n * count, 2);
    for (const auto& [turn_a, turn_b] :
         {std::pair{CUBLAS_OP_N, CUBLAS_OP_N}, {CUBLAS_OP_T, CUBLAS_OP_N}, {CUBLAS_OP_N, CUBLAS_OP_T}}) {
        const Device<float> a_at(a), b_at(b), c_at(m * n * count);
        const Device<uint16_t> a_half(encode<uint16_t>(a)), b_half(encode<uint16_t>(b)), c_half(m * n * count);
        const float one = 1, none = 0;
        const int a_step = turn_a == CUBLAS_OP_N ? m : k, b_step = turn_b == CUBLAS_OP_N ? k : n;
        CHECK(cublasGemmStridedBatchedEx(handle, turn_a, turn_b, m, n, k, &one, a_at.get(), CUDA_R_32F, a_step, m * k,
                                         b_at.get(), CUDA_R_32F, b_step, k * n, &none, c_at.get(), CUDA_R_32F, m, m * n,
                                         count, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
        CHECK(cublasGemmEx(handle, turn_a, turn_b, m, n, k, &one, a_half.get(), CUDA_R_16BF, a_step, b_half.get(),
                           CUDA_R_16BF, b_step, &none, c_half.get(), CUDA_R_16BF, m, CUBLAS_COMPUTE_32F,
                           CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
        std::vector<float> expected(m * n * count);
        for (int i = 0; i < count; i++)
            for (int row = 0; row < m; row++)
                for (int column = 0; column < n; column++)
                    for (int d = 0; d < k; d++)
                        expected[static_cast<size_t>((i * n + column) * m + row)] +=
                            a[static_cast<size_t>(i * m * k + (turn_a == CUBLAS_OP_N ? row + d * m : d + row * k))] *
                            b[static_cast<size_t>(i * k * n + (turn_b == CUBLAS_OP_N ? d + column * k : column + d * n))];
        CHECK(near(c_at.read(), expected, 1e-6));
        std::vector<float> halves = decode(c_half.read());
        halves.resize(m * n);
        expected.resize(m * n);
        CHECK(near(halves, expected, 0.004));
    }
}

}  // namespace

const std::vector<Test> library_tests = {
    {"convolutions_f32", convolutions_f32, nullptr, nullptr},
    {"convolutions_f64", convolutions_f64, nullptr, nullptr},
    {"convolutions_bf16", convolutions_bf16, nullptr, nullptr},
    {"bias_and_activation", bias_and_activation, nullptr, nullptr},
    {"refused", refused, nullptr, nullptr},
    {"not_deterministic", not_deterministic, nullptr, nullptr},
    {"products", products, nullptr, nullptr},
};
