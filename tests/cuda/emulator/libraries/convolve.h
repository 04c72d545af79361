// Convolutions of images on the host.
#pragma once

#include "dnn.h"

namespace emulate {

struct Convolution {
    const cudnnTensorStruct& x;
    const cudnnFilterStruct& w;
    const cudnnConvolutionStruct& how;
    const cudnnTensorStruct& y;
};

enum class Direction { Forward, Data, Filter };

// What is added to the result, and what becomes of it.
struct Finish {
    double alpha = 1;
    double beta = 0;
    // What `beta` scales; null for the old values of the result.
    const void* other = nullptr;
    const void* bias = nullptr;
    bool rectify = false;
};

// Reads two of the three and writes the one that the direction names (forward: y). `turn` shifts the order in which the
// parts of a sum are added up, as happens to a GPU's atomic additions.
void convolve(Direction direction, const Convolution& c, void* x, void* w, void* y, const Finish& finish, size_t turn);

}  // namespace emulate
