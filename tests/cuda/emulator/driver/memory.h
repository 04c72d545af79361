// Device memory: blocks of the host's, with margins that show when a kernel writes beside them.
#pragma once

#include <cstddef>

namespace emulate {

// Null when there is no more.
void* allocate(size_t bytes);
bool release(void* at);
// Whether the bytes lie in one allocation.
bool is_device(const void* at, size_t bytes);
// Aborts when a margin was written to; `launched` were the kernels since the last check.
void check_margins();
void note_launch(const char* kernel);
size_t free_bytes();
size_t peak_bytes();
void reset_peak();
size_t allocated_bytes();

}  // namespace emulate
