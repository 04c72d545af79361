// Runs all blocks of a launch, one after another, on the calling thread.
#pragma once

#include "../device/interface.h"

namespace emulate {

struct Launch {
    const Image& image;
    const Kernel& kernel;
    dim3 grid;
    dim3 block;
    unsigned dynamic_bytes;
    void** arguments;
};

void run(const Launch& launch);

}  // namespace emulate
