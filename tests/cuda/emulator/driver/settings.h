// What the environment says; read once.
#pragma once

#include <cstddef>

namespace emulate {

struct Settings {
    size_t memory;
    int devices;
    int driver;
    int major;
    int minor;
    // Launches until the device is lost; negative: never.
    long lost_after;
    bool backward;
    // Whether memory is checked after every launch, so that the kernel at fault is known.
    bool check_every_launch;
    const char* trace;
};

const Settings& settings();

// A line of the trace.
[[gnu::format(printf, 1, 2)]] void trace(const char* format, ...);

}  // namespace emulate
