// The driver's calls: devices, memory, errors.
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <string>
#include <thread>

#include "check.h"

namespace {

void devices() {
    CUdevice device;
    CHECK(cuDeviceGet(&device, 0) == CUDA_ERROR_NOT_INITIALIZED);
    open_device();
    int count = 0, major = 0, minor = 0, version = 0;
    OK(cuDeviceGetCount(&count));
    OK(cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 0));
    OK(cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 0));
    OK(cuDriverGetVersion(&version));
    CHECK(count == 1 && major == 9 && minor == 0 && version == 13000);
    CHECK(cuDeviceGet(&device, 1) == CUDA_ERROR_INVALID_DEVICE);
    const char* text;
    OK(cuGetErrorName(CUDA_ERROR_OUT_OF_MEMORY, &text));
    CHECK(strcmp(text, "CUDA_ERROR_OUT_OF_MEMORY") == 0);
}

void no_device() { CHECK(cuInit(0) == CUDA_ERROR_NO_DEVICE); }

void another_capability() {
    open_device();
    int major = 0, minor = 0;
    OK(cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 0));
    OK(cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 0));
    CHECK(major == 7 && minor == 5);
}

void contexts_belong_to_threads() {
    open_device();
    std::thread([] {
        CUdeviceptr at;
        CHECK(cuMemAlloc(&at, 16) == CUDA_ERROR_INVALID_CONTEXT);
    }).join();
}

void memory() {
    open_device();
    Device<float> fresh(100);
    for (const float value : fresh.read()) {
        CHECK(std::isnan(value));
    }
    OK(cuMemsetD8Async(fresh.at(), 0, 400, nullptr));
    OK(cuMemsetD32Async(fresh.at() + 40, 0x3f800000, 90, nullptr));
    const std::vector<float> values = fresh.read();
    CHECK(values[9] == 0.0f && values[10] == 1.0f && values[99] == 1.0f);
    Device<float> other(50);
    OK(cuMemcpyDtoDAsync(other.at(), fresh.at(), 200, nullptr));
    CHECK(other.read()[49] == 1.0f);
    // Copies beyond the end, and from what is no device memory.
    CHECK(cuMemcpyDtoDAsync(other.at(), fresh.at(), 204, nullptr) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuMemcpyDtoDAsync(other.at(), reinterpret_cast<CUdeviceptr>(values.data()), 200, nullptr) ==
          CUDA_ERROR_INVALID_VALUE);
    CUdeviceptr none;
    CHECK(cuMemAlloc(&none, 0) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuMemFree(other.at() + 256) == CUDA_ERROR_INVALID_VALUE);
}

void out_of_memory() {
    open_device();
    size_t free_bytes, total;
    OK(cuMemGetInfo(&free_bytes, &total));
    CHECK(free_bytes == 1000000 && total == 1000000);
    Device<char> half(500000);
    CUdeviceptr at;
    CHECK(cuMemAllocAsync(&at, 600000, nullptr) == CUDA_ERROR_OUT_OF_MEMORY);
    OK(cuMemAllocAsync(&at, 400000, nullptr));
    OK(cuMemFreeAsync(at, nullptr));
    OK(cuMemAllocAsync(&at, 499000, nullptr));
}

void events_and_streams() {
    open_device();
    CUstream stream;
    CUevent before, after, untimed;
    OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    OK(cuEventCreate(&before, CU_EVENT_DEFAULT));
    OK(cuEventCreate(&after, CU_EVENT_DEFAULT));
    OK(cuEventCreate(&untimed, CU_EVENT_DISABLE_TIMING));
    OK(cuEventRecord(before, stream));
    usleep(2000);
    OK(cuEventRecord(after, CU_STREAM_PER_THREAD));
    OK(cuEventRecord(untimed, nullptr));
    OK(cuStreamWaitEvent(stream, after, 0));
    OK(cuEventSynchronize(after));
    OK(cuEventQuery(after));
    float milliseconds;
    OK(cuEventElapsedTime(&milliseconds, before, after));
    CHECK(milliseconds >= 2.0f && milliseconds < 1000.0f);
    CHECK(cuEventElapsedTime(&milliseconds, before, untimed) == CUDA_ERROR_INVALID_HANDLE);
    OK(cuStreamDestroy(stream));
    CHECK(cuStreamSynchronize(stream) == CUDA_ERROR_INVALID_HANDLE);
    CUgraph graph;
    CHECK(cuStreamBeginCapture(nullptr, CU_STREAM_CAPTURE_MODE_GLOBAL) == CUDA_ERROR_NOT_SUPPORTED);
    CHECK(cuStreamEndCapture(nullptr, &graph) == CUDA_ERROR_NOT_SUPPORTED);
}

void lost() {
    open_device();
    Device<int> out(64);
    for (int i = 0; i < 2; i++) {
        OK(launch("test_race", 1, 64, 0, out.get()));
    }
    CHECK(launch("test_race", 1, 64, 0, out.get()) == CUDA_ERROR_LAUNCH_FAILED);
    CUdeviceptr at;
    CHECK(cuMemAlloc(&at, 16) == CUDA_ERROR_LAUNCH_FAILED);
    CHECK(cuCtxSynchronize() == CUDA_ERROR_LAUNCH_FAILED);
}

void traced() {
    open_device();
    Device<int> out(64);
    OK(launch("test_race", 2, 64, 0, out.get()));
    OK(cuStreamSynchronize(nullptr));
    out.read();
    std::ifstream file(getenv("S2PIPE_EMULATE_TRACE"));
    std::string lines;
    for (std::string line; std::getline(file, line);) {
        lines += line + "\n";
    }
    remove(getenv("S2PIPE_EMULATE_TRACE"));
    CHECK(lines == "alloc 256\nkernel test_race grid 2,1,1 block 64,1,1 shared 0\nsync stream\nmemcpy dtoh 256\n");
}

}  // namespace

const std::vector<Test> driver_tests = {
    {"devices", devices, nullptr, nullptr},
    {"no_device", no_device, "S2PIPE_EMULATE_DEVICES=0", nullptr},
    {"another_capability", another_capability, "S2PIPE_EMULATE_CAPABILITY=7.5", nullptr},
    {"contexts_belong_to_threads", contexts_belong_to_threads, nullptr, nullptr},
    {"memory", memory, nullptr, nullptr},
    {"out_of_memory", out_of_memory, "S2PIPE_EMULATE_MEMORY=1000000", nullptr},
    {"events_and_streams", events_and_streams, nullptr, nullptr},
    {"lost", lost, "S2PIPE_EMULATE_LOST_AFTER=2", nullptr},
    {"traced", traced, "S2PIPE_EMULATE_TRACE=selftest.trace", nullptr},
};
