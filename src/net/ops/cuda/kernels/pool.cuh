// What poolings by the maximum share.
#pragma once

#include "common.cuh"

// Where a pixel's channels start.
__device__ inline Index place_of(Index image, int height, int width, int channels, int row, int column, int channel) {
    return ((image * height + row) * width + column) * channels + channel;
}

// True where `b` takes the maximum from an earlier `a`; NaN counts as the maximum.
__device__ inline bool beats(float b, float a) { return b > a || (b != b && a == a); }
