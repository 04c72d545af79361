// What libcuda.so.1 does for the other libraries.
#pragma once

#include <cstddef>

extern "C" {
// Zero, or the driver's error when the device cannot be used by this thread.
int s2pipe_emulate_ready();
// The same; counts as a launch, and leaves a line in the trace.
int s2pipe_emulate_library_call(const char* name, const char* detail);
int s2pipe_emulate_is_device(const void* at, size_t bytes);
}
