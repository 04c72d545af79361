// The device's side of CUDA for a host compiler: included before every kernel source by build.sh.
//
// A kernel becomes a plain function. What differs between its threads (`threadIdx`) lies in variables of the library that
// the kernel is compiled into, and is set before a thread runs. A thread that has to wait (`__syncthreads`, a shuffle)
// leaves its stack behind and lets others run: see ../driver/block.cpp.
#pragma once

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cassert>
#include <cmath>
#include <type_traits>

// As a host compiler sees them, these have every conversion and most arithmetic.
#include "cuda_fp16.h"
#include "cuda_bf16.h"
#include "cuda_fp8.h"
#include "vector_functions.h"
#include "vector_types.h"

// `__global__` and `__shared__` stay as they are: build.sh looks for them, and puts others in their place.
#undef __global__
#undef __shared__
#undef __device__
#undef __host__
#undef __constant__
#undef __forceinline__
#undef __noinline__
#undef __launch_bounds__
#undef __restrict__
#undef __align__
#undef __grid_constant__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))
#define __CUDA_ARCH__ 900
#define __CUDACC_VER_MAJOR__ 13
#define __CUDACC_VER_MINOR__ 0

#include "interface.h"

#define EMULATE_LOCAL __attribute__((visibility("hidden")))
// Not zero at first, so that they do not lie among the zeros: those are shared memory, which is overwritten.
EMULATE_LOCAL inline uint3 threadIdx{1, 1, 1}, blockIdx{1, 1, 1};
EMULATE_LOCAL inline dim3 blockDim{1, 1, 1}, gridDim{1, 1, 1};
constexpr int warpSize = 32;

#include "waits.h"
#include "atomics.h"
#include "arithmetic.h"
#include "small_floats.h"

namespace emulate {

// Calls a kernel for all threads that are left to start, with arguments as cuLaunchKernel gets them.
template <auto kernel, typename Function = decltype(kernel)>
struct Entry;

template <auto kernel, typename... Arguments>
struct Entry<kernel, void (*)(Arguments...)> {
    static void run(void** arguments, Block& block) {
        run_unpacked(arguments, block, std::index_sequence_for<Arguments...>{});
    }

    template <size_t... at>
    static void run_unpacked([[maybe_unused]] void** arguments, Block& block, std::index_sequence<at...>) {
        while (block.take(threadIdx)) {
            // Fresh copies for every thread: a kernel may write to its parameters.
            kernel(*static_cast<std::remove_cv_t<Arguments>*>(arguments[at])...);
        }
    }
};

// Static shared memory: where the linker put the zeros. Behind them lies dynamic shared memory.
extern "C" {
EMULATE_LOCAL extern char __bss_start[];
EMULATE_LOCAL extern char s2pipe_emulate_dynamic[];
}

}  // namespace emulate
