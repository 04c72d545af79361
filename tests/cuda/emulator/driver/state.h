// What the driver's calls share: its lock, the state of the device, and the handles' real types.
#pragma once

#include <cuda.h>

#include <chrono>
#include <mutex>
#include <string>

#include "../device/interface.h"

// The handles are pointers to types that cuda.h only names.
struct CUctx_st {
    int device;
    int retained = 0;
};
struct CUstream_st {
    unsigned flags;
};
struct CUevent_st {
    bool timed;
    bool recorded = false;
    std::chrono::steady_clock::time_point at;
};
struct CUmemPoolHandle_st {
    cuuint64_t threshold = 0;
    // The most that may be allocated from it, 0 for no limit, and what is.
    size_t limit = 0;
    size_t used = 0;
};
struct CUmod_st {
    // Text of an intermediate form; empty for machine code, which cannot be searched for names.
    std::string text;
};
struct CUfunc_st {
    const emulate::Image* image;
    const emulate::Kernel* kernel;
    int dynamic_bytes = 48 * 1024;
};

namespace emulate {

// Held by every call: the emulated device does one thing at a time.
std::recursive_mutex& lock();
// The error that every call gives before anything else: not initialised, or the device is lost.
CUresult standing();
// The same, and an error if this thread has no context.
CUresult ready();
// The pool that allocations come from which do not name one.
CUmemoryPool& current_pool();
// A kernel, of whatever library, was launched: the device may be lost by it.
CUresult launched(const char* kernel);

}  // namespace emulate

#define EMULATE_ENTER(check)                                                \
    std::lock_guard<std::recursive_mutex> emulate_guard(emulate::lock());   \
    if (const CUresult failed = emulate::check(); failed != CUDA_SUCCESS) { \
        return failed;                                                      \
    }
