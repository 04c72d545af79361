// cuRAND: the calls of a generator, with numbers that are as random but not NVIDIA's.
#include <curand.h>

#include <cmath>
#include <cstdint>

#include "services.h"

struct curandGenerator_st {
    uint64_t seed = 0;
    uint64_t place = 0;
    cudaStream_t stream = nullptr;
};

namespace {

uint64_t next(curandGenerator_t g) {
    uint64_t x = g->seed + ++g->place * 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

// In (0, 1], as cuRAND's.
double uniform(curandGenerator_t g) { return (static_cast<double>(next(g) >> 11) + 1) * 0x1p-53; }

double normal(curandGenerator_t g) {
    const double length = std::sqrt(-2 * std::log(uniform(g)));
    return length * std::cos(2 * M_PI * uniform(g));
}

template <typename T, typename Draw>
curandStatus_t fill(T* into, size_t count, Draw draw) {
    if (s2pipe_emulate_is_device(into, count * sizeof(T)) == 0 || s2pipe_emulate_library_call("curand", "") != 0) {
        return CURAND_STATUS_LAUNCH_FAILURE;
    }
    for (size_t i = 0; i < count; i++) {
        into[i] = static_cast<T>(draw());
    }
    return CURAND_STATUS_SUCCESS;
}

}  // namespace

extern "C" {

curandStatus_t curandCreateGenerator(curandGenerator_t* generator, curandRngType_t) {
    if (s2pipe_emulate_ready() != 0) {
        return CURAND_STATUS_INITIALIZATION_FAILED;
    }
    *generator = new curandGenerator_st;
    return CURAND_STATUS_SUCCESS;
}
curandStatus_t curandDestroyGenerator(curandGenerator_t generator) {
    delete generator;
    return CURAND_STATUS_SUCCESS;
}
curandStatus_t curandSetStream(curandGenerator_t generator, cudaStream_t stream) {
    generator->stream = stream;
    return CURAND_STATUS_SUCCESS;
}
curandStatus_t curandSetPseudoRandomGeneratorSeed(curandGenerator_t generator, unsigned long long seed) {
    generator->seed = seed;
    generator->place = 0;
    return CURAND_STATUS_SUCCESS;
}
curandStatus_t curandSetGeneratorOffset(curandGenerator_t generator, unsigned long long offset) {
    generator->place = offset;
    return CURAND_STATUS_SUCCESS;
}
curandStatus_t curandGenerate(curandGenerator_t g, unsigned* into, size_t count) {
    return fill(into, count, [=] { return next(g) >> 32; });
}
curandStatus_t curandGenerateUniform(curandGenerator_t g, float* into, size_t count) {
    return fill(into, count, [=] { return uniform(g); });
}
curandStatus_t curandGenerateUniformDouble(curandGenerator_t g, double* into, size_t count) {
    return fill(into, count, [=] { return uniform(g); });
}
curandStatus_t curandGenerateNormal(curandGenerator_t g, float* into, size_t count, float mean, float deviation) {
    return count % 2 != 0 ? CURAND_STATUS_LENGTH_NOT_MULTIPLE
                          : fill(into, count, [=] { return mean + deviation * normal(g); });
}
curandStatus_t curandGenerateNormalDouble(curandGenerator_t g, double* into, size_t count, double mean, double deviation) {
    return count % 2 != 0 ? CURAND_STATUS_LENGTH_NOT_MULTIPLE
                          : fill(into, count, [=] { return mean + deviation * normal(g); });
}

}  // extern "C"
