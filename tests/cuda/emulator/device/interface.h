// What the driver and the kernels' libraries share.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "vector_types.h"

namespace emulate {

constexpr unsigned WARP = 32;
constexpr unsigned MOST_THREADS = 1024;
// Dynamic shared memory that a block of an H100 may have.
constexpr unsigned MOST_SHARED = 227 * 1024;
// Bytes behind it that must stay as they are.
constexpr unsigned SHARED_MARGIN = 1024;

// The threads of a block that have not started.
struct Block {
    dim3 size;
    unsigned next = 0;
    unsigned end = 0;
    // Who runs.
    unsigned current = 0;
    // Whether the last thread is first: what a kernel computes must not depend on it.
    bool backward = false;

    // The indices of thread number `thread`.
    uint3 index(unsigned thread) const {
        if (size.y == 1 && size.z == 1) {
            return {thread, 0, 0};
        }
        return {thread % size.x, thread / size.x % size.y, thread / size.x / size.y};
    }

    bool take(uint3& thread_index) {
        if (next == end) {
            return false;
        }
        current = backward ? --end : next++;
        thread_index = index(current);
        return true;
    }
};

struct Kernel {
    const char* name;
    void (*run)(void** arguments, Block& block);
};

// One source file of kernels.
struct Image {
    const Kernel* kernels;
    size_t count;
    uint3* block_index;
    dim3* block_size;
    dim3* grid_size;
    // Static shared memory, up to where the dynamic one starts.
    char* shared;
    char* dynamic;
};

// What a thread of a warp brings to the others, and what it gets.
struct Exchange {
    unsigned mask;
    // Up to 16 bytes.
    uint64_t brought[2];
    // Of all lanes, until this thread waits again; those that take no part have bits that are NaN as numbers.
    const uint64_t (*all)[2];
};

}  // namespace emulate

extern "C" {
// Waits for the block; gives the sum of what its threads brought.
int s2pipe_emulate_barrier(int brought);
// Waits for the lanes in the mask.
void s2pipe_emulate_exchange(emulate::Exchange* exchange);
unsigned s2pipe_emulate_lane();
// Threads of this warp that have not ended.
unsigned s2pipe_emulate_active();
[[noreturn]] void s2pipe_emulate_trap(const char* reason);
}
