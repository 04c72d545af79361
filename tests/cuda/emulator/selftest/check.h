// A frame for tests of the emulated GPU: each runs in a process of its own, with its own environment.
#pragma once

#include <cuda.h>
#include <vector_types.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#define CHECK(condition)                                                    \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                        \
        }                                                                   \
    } while (false)
#define OK(call) CHECK((call) == CUDA_SUCCESS)

struct Test {
    const char* name;
    void (*run)();
    // NAME=VALUE, or null.
    const char* environment;
    // What it says on the error output when it aborts; null when it ends well.
    const char* dies_with;
};

// Values in device memory.
template <typename T>
class Device {
   public:
    explicit Device(size_t count) : count_(count) { OK(cuMemAllocAsync(&at_, count * sizeof(T), nullptr)); }
    explicit Device(const std::vector<T>& values) : Device(values.size()) {
        OK(cuMemcpyHtoDAsync(at_, values.data(), count_ * sizeof(T), nullptr));
    }
    ~Device() { cuMemFreeAsync(at_, nullptr); }
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;
    T* get() const { return reinterpret_cast<T*>(at_); }
    CUdeviceptr at() const { return at_; }
    std::vector<T> read() const {
        std::vector<T> values(count_);
        OK(cuMemcpyDtoHAsync(values.data(), at_, count_ * sizeof(T), nullptr));
        return values;
    }

   private:
    CUdeviceptr at_ = 0;
    size_t count_;
};

void open_device();
CUfunction kernel(const char* name);

template <typename... Arguments>
CUresult launch(const char* name, dim3 grid, dim3 block, unsigned dynamic, Arguments... arguments) {
    void* list[] = {&arguments..., nullptr};
    return cuLaunchKernel(kernel(name), grid.x, grid.y, grid.z, block.x, block.y, block.z, dynamic, nullptr, list, nullptr);
}

extern const std::vector<Test> driver_tests, kernel_tests, library_tests;
