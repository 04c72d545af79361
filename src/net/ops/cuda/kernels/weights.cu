// Weights on their way to cuDNN and gradients on their way back: transposed and changed in type.

#include "common.cuh"

// Side of the square that a block turns, and rows of it that its threads cover at once.
constexpr int TILE = 32;
constexpr int TILE_ROWS = 8;

// into[column][row] = from[row][column], of a matrix `rows` x `columns`; a block turns one square.
template <typename From, typename Into>
__device__ void turn(const From* __restrict__ from, Into* __restrict__ into, int rows, int columns) {
    // One more value a row, so that a column's values lie in different banks.
    __shared__ float square[TILE][TILE + 1];
    const int x = threadIdx.x % TILE;
    const int y = threadIdx.x / TILE;
    const int column = blockIdx.x * TILE + x;
    for (int step = y; step < TILE; step += TILE_ROWS) {
        const int row = blockIdx.y * TILE + step;
        if (row < rows && column < columns) {
            square[step][x] = to_float(from[static_cast<long long>(row) * columns + column]);
        }
    }
    __syncthreads();
    const int row = blockIdx.y * TILE + x;
    for (int step = y; step < TILE; step += TILE_ROWS) {
        const int turned = blockIdx.x * TILE + step;
        if (turned < columns && row < rows) {
            into[static_cast<long long>(turned) * rows + row] = from_float<Into>(square[x][step]);
        }
    }
}

// f32 weights to the images' type.
extern "C" __global__ void turn_in_f32(const float* from, float* into, int rows, int columns) {
    turn(from, into, rows, columns);
}

extern "C" __global__ void turn_in_bf16(const float* from, __nv_bfloat16* into, int rows, int columns) {
    turn(from, into, rows, columns);
}

// Gradients in the images' type to f32.
extern "C" __global__ void turn_out_f32(const float* from, float* into, int rows, int columns) {
    turn(from, into, rows, columns);
}

extern "C" __global__ void turn_out_bf16(const __nv_bfloat16* from, float* into, int rows, int columns) {
    turn(from, into, rows, columns);
}

// Weights [.., channels] times what normalisation scales their output channel by, and the bias that it adds.
extern "C" __global__ void fold_norm(const float* __restrict__ w, const float* __restrict__ gamma,
                                     const float* __restrict__ beta, const float* __restrict__ mean,
                                     const float* __restrict__ variance, float eps, float* __restrict__ weights,
                                     float* __restrict__ bias, long long count, int channels) {
    const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
    for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
        const int c = static_cast<int>(i % channels);
        const float scale = gamma[c] / sqrtf(variance[c] + eps);
        weights[i] = w[i] * scale;
        if (i < channels) {
            bias[c] = beta[c] - mean[c] * scale;
        }
    }
}
