// Kernels: threads that wait for each other, shared memory, parameters, and the mistakes that are found.
#include <chrono>
#include <cmath>

#include "check.h"

namespace {

std::vector<float> counted(size_t count) {
    std::vector<float> values(count);
    for (size_t i = 0; i < count; i++) {
        values[i] = static_cast<float>(i % 17) - 5;
    }
    return values;
}

double total(const std::vector<float>& values) {
    double sum = 0;
    for (const float value : values) {
        sum += value;
    }
    return sum;
}

void block_sum() {
    open_device();
    const std::vector<float> values = counted(10007);
    const Device<float> in(values), out(5);
    OK(launch("test_block_sum", 5, 256, 0, in.get(), out.get(), 10007));
    CHECK(total(out.read()) == total(values));
    // 257 threads overrun nothing that the driver can see, but a block may not have 1025, nor a grid none.
    CHECK(launch("test_block_sum", 5, 1025, 0, in.get(), out.get(), 10007) == CUDA_ERROR_INVALID_VALUE);
    CHECK(launch("test_block_sum", 0, 256, 0, in.get(), out.get(), 10007) == CUDA_ERROR_INVALID_VALUE);
    CHECK(launch("test_block_sum", dim3(1, 65536), 256, 0, in.get(), out.get(), 10007) == CUDA_ERROR_INVALID_VALUE);
}

void warp_sum() {
    open_device();
    const std::vector<float> values = counted(3 * 256);
    const Device<float> in(values), out(3);
    const Device<unsigned> votes(6);
    OK(launch("test_warp_sum", 3, 256, 0, in.get(), out.get(), votes.get()));
    CHECK(total(out.read()) == total(values));
    CHECK((votes.read() == std::vector<unsigned>{0xaaaaaaaa, 5, 1, 5, 93, 1}));
}

void dynamic() {
    open_device();
    const std::vector<float> values = counted(2 * 1000);
    const Device<float> in(values), out(2 * 1000);
    OK(launch("test_dynamic", 2, 1000, 4000, in.get(), out.get()));
    const std::vector<float> turned = out.read();
    for (size_t i = 0; i < 1000; i++) {
        CHECK(turned[i] == values[999 - i] && turned[1000 + i] == values[1999 - i]);
    }
    // Beyond 48 KiB only after it was asked for.
    CHECK(launch("test_dynamic", 2, 1000, 50000, in.get(), out.get()) == CUDA_ERROR_INVALID_VALUE);
    OK(cuFuncSetAttribute(kernel("test_dynamic"), CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 100000));
    OK(launch("test_dynamic", 2, 1000, 50000, in.get(), out.get()));
    CHECK(cuFuncSetAttribute(kernel("test_dynamic"), CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 300000) !=
          CUDA_SUCCESS);
}

void shape() {
    open_device();
    const struct {
        int rows, columns;
        float scale;
    } shape = {13, 21, 3.0f};
    const std::vector<float> values = counted(2 * 13 * 21);
    const Device<float> in(values), out(values.size());
    const Device<unsigned long long> count(std::vector<unsigned long long>{0, 0});
    OK(launch("test_shape", dim3(3, 2, 2), dim3(8, 8, 4), 0, in.get(), out.get(), shape, count.get()));
    const std::vector<float> scaled = out.read();
    for (size_t i = 0; i < values.size(); i++) {
        CHECK(scaled[i] == values[i] * 6);
    }
    CHECK(count.read()[0] == values.size() && count.read()[1] == 64);
}

void bf16() {
    open_device();
    const std::vector<float> values = {1.0f, 1.00390625f, 1.01171875f, -3.4e38f, 1e-40f, 0.1f, INFINITY};
    const Device<float> in(values), back(values.size());
    const Device<uint16_t> out(values.size());
    OK(launch("test_bf16", 1, 32, 0, in.get(), out.get(), back.get(), static_cast<int>(values.size())));
    CHECK((out.read() == std::vector<uint16_t>{0x3f80, 0x3f80, 0x3f82, 0xff80, 0x0001, 0x3dcd, 0x7f80}));
    CHECK(back.read()[0] == 1.0f && back.read()[2] == 1.015625f * 1.015625f);
}

void unwritten() {
    open_device();
    const Device<float> out(8);
    OK(launch("test_unwritten", 2, 8, 0, out.get()));
    CHECK(std::isnan(out.read()[3]));
}

void race() {
    open_device();
    const Device<int> out(64);
    OK(launch("test_race", 1, 64, 0, out.get()));
    const bool backward = getenv("S2PIPE_EMULATE_ORDER") != nullptr;
    CHECK(out.read()[backward ? 63 : 0] != (backward ? 0 : 63));
    CHECK(out.read()[backward ? 0 : 63] == (backward ? 63 : 0));
}

void deadlock() {
    open_device();
    const Device<int> out(64);
    launch("test_deadlock", 1, 32, 0, out.get());
}

void outside() {
    open_device();
    const Device<float> before(10), out(10);
    OK(launch("test_outside", 1, 32, 0, out.get(), 9));
    OK(cuStreamSynchronize(nullptr));
    OK(launch("test_outside", 1, 32, 0, out.get(), 10));
    OK(cuStreamSynchronize(nullptr));
}

void dynamic_outside() {
    open_device();
    launch("test_dynamic_outside", 1, 32, 124);
}

void unknown() {
    open_device();
    CUmodule module;
    CUfunction function;
    OK(cuModuleLoadData(&module, "\x50\xed machine code"));
    CHECK(cuModuleGetFunction(&function, module, "no_such_kernel") == CUDA_ERROR_NOT_FOUND);
    // candle's kernels are found in a text that has them.
    OK(cuModuleLoadData(&module, "//\n.visible .entry ucopy_f32(\n"));
    OK(cuModuleGetFunction(&function, module, "ucopy_f32"));
    CHECK(cuModuleGetFunction(&function, module, "ucopy_bf16") == CUDA_ERROR_NOT_FOUND);
}

// Not a test of speed, but threads that wait must not become so slow that nobody runs them.
void speed() {
    open_device();
    const Device<float> in(counted(2000 * 256)), out(2000);
    const Device<unsigned> votes(6);
    const auto start = std::chrono::steady_clock::now();
    OK(launch("test_warp_sum", 2000, 256, 0, in.get(), out.get(), votes.get()));
    CHECK(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < 5);
}

}  // namespace

const std::vector<Test> kernel_tests = {
    {"block_sum", block_sum, nullptr, nullptr},
    {"block_sum_backward", block_sum, "S2PIPE_EMULATE_ORDER=backward", nullptr},
    {"warp_sum", warp_sum, nullptr, nullptr},
    {"warp_sum_backward", warp_sum, "S2PIPE_EMULATE_ORDER=backward", nullptr},
    {"dynamic", dynamic, nullptr, nullptr},
    {"shape", shape, nullptr, nullptr},
    {"shape_backward", shape, "S2PIPE_EMULATE_ORDER=backward", nullptr},
    {"bf16", bf16, nullptr, nullptr},
    {"unwritten", unwritten, nullptr, nullptr},
    {"race", race, nullptr, nullptr},
    {"race_backward", race, "S2PIPE_EMULATE_ORDER=backward", nullptr},
    {"deadlock", deadlock, nullptr, "kernel test_deadlock"},
    {"outside", outside, nullptr,
     "outside an allocation of 40 bytes, at offset 40. Launched since the last check: test_outside"},
    {"dynamic_outside", dynamic_outside, nullptr, "behind its dynamic shared memory"},
    {"unknown", unknown, nullptr, nullptr},
    {"speed", speed, nullptr, nullptr},
};
