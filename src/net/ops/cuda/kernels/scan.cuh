// Running sums of counts.
#pragma once

#include "common.cuh"

// Sum of `value` over the threads of the block before this one; `total` is the sum over all.
__device__ inline unsigned sum_before(unsigned value, unsigned& total) {
    __shared__ unsigned kept[THREADS];
    const int me = threadIdx.x;
    // The sums before these have been read.
    __syncthreads();
    kept[me] = value;
    for (int span = 1; span < THREADS; span *= 2) {
        __syncthreads();
        const unsigned more = me >= span ? kept[me - span] : 0;
        __syncthreads();
        kept[me] += more;
    }
    __syncthreads();
    total = kept[THREADS - 1];
    return kept[me] - value;
}
