// Kernels that use what real ones use, and some that are wrong on purpose.
#include <cuda_bf16.h>

struct Shape {
    int rows;
    int columns;
    float scale;
};

// out[block] = sum of a block's part of `values`, by halves.
extern "C" __global__ void test_block_sum(const float* __restrict__ values, float* out, int count) {
    __shared__ float sums[256];
    float sum = 0.0f;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) sum += __ldg(values + i);
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) out[blockIdx.x] = sums[0];
}

template <int WIDTH>
__device__ float warp_sum(float value) {
    for (int by = WIDTH / 2; by > 0; by /= 2) value += __shfl_down_sync(0xffffffff, value, by, WIDTH);
    return value;
}

// The same through shuffles, and what the other shuffles and votes give in warp 0.
extern "C" __global__ void __launch_bounds__(256, 2) test_warp_sum(const float* values, float* out, unsigned* votes) {
    __shared__ float sums[32];
    const float sum = warp_sum<32>(values[blockIdx.x * blockDim.x + threadIdx.x]);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
    const unsigned odd = __ballot_sync(0xffffffff, threadIdx.x % 2);
    const int right = __shfl_xor_sync(0xffffffff, (int)threadIdx.x, 1);
    const int up = __shfl_up_sync(0xffffffff, (int)threadIdx.x, 3);
    const double first = __shfl_sync(0xffffffff, (double)threadIdx.x, 5);
    const unsigned most = __reduce_max_sync(0xffffffff, threadIdx.x * 3);
    __syncthreads();
    if (threadIdx.x == 0) {
        float all = 0.0f;
        for (int i = 0; i < blockDim.x / 32; i++) all += sums[i];
        out[blockIdx.x] = all;
    }
    if (blockIdx.x == 0 && threadIdx.x == 4) {
        votes[0] = odd;
        votes[1] = right;
        votes[2] = up;
        votes[3] = (unsigned)first;
        votes[4] = most;
        votes[5] = __activemask() >> threadIdx.x & 1;
    }
}

// Turns the values of each block round, through shared memory of a size that the launch says.
extern "C" __global__ void test_dynamic(const float* from, float* to) {
    extern __shared__ __align__(16) float turned[];
    turned[blockDim.x - 1 - threadIdx.x] = from[blockIdx.x * blockDim.x + threadIdx.x];
    __syncthreads();
    to[blockIdx.x * blockDim.x + threadIdx.x] = turned[threadIdx.x];
}

// A structure by value; three dimensions of threads and blocks; threads that end before a barrier.
extern "C" __global__ void test_shape(const float* from, float* to, Shape shape, unsigned long long* counted) {
    const int column = blockIdx.x * blockDim.x + threadIdx.x;
    const int row = blockIdx.y * blockDim.y + threadIdx.y;
    if (column >= shape.columns || row >= shape.rows) return;
    const int present = __syncthreads_count(threadIdx.z == 0);
    shape.scale *= 2.0f;
    if (threadIdx.z == 0) {
        const int at = (blockIdx.z * shape.rows + row) * shape.columns + column;
        to[at] = from[at] * shape.scale;
        atomicAdd(counted, 1ull);
        if (threadIdx.x == 0 && threadIdx.y == 0) atomicMax((unsigned*)counted + 2, (unsigned)present);
    }
}

extern "C" __global__ void test_bf16(const float* from, __nv_bfloat16* to, float* back, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    to[i] = __float2bfloat16(from[i]);
    const __nv_bfloat162 pair = __floats2bfloat162_rn(from[i], 1.0f);
    back[i] = __low2float(pair) * __bfloat162float(to[i]) + rsqrtf(4.0f) - 0.5f;
}

extern "C" __global__ void test_unwritten(float* out) {
    __shared__ float never[8];
    alignas(16) __shared__ float written[8];
    written[threadIdx.x] = 1.0f;
    out[threadIdx.x] = never[threadIdx.x] + written[threadIdx.x];
    never[threadIdx.x] = 3.0f;
}

// Wrong: no barrier between writing and reading.
extern "C" __global__ void test_race(int* out) {
    __shared__ int shared[64];
    shared[threadIdx.x] = threadIdx.x;
    out[threadIdx.x] = shared[63 - threadIdx.x];
}

// Wrong: thread 0 waits for the block, the others for their warp.
extern "C" __global__ void test_deadlock(int* out) {
    if (threadIdx.x == 0) __syncthreads();
    out[threadIdx.x] = __shfl_sync(0xffffffff, 1, 0);
}

// Wrong: one value too far.
extern "C" __global__ void test_outside(float* out, int count) {
    if (threadIdx.x <= count) out[threadIdx.x] = 1.0f;
}

extern "C" __global__ void test_dynamic_outside() {
    extern __shared__ float turned[];
    turned[threadIdx.x] = 0.0f;
}
