// Numbers as they lie in device memory.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace emulate {

struct Bf16 {
    uint16_t bits;
};
struct F16 {
    uint16_t bits;
};

inline float bits_to_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

inline float widen(float value) { return value; }
inline double widen(double value) { return value; }
inline float widen(Bf16 value) { return bits_to_float(uint32_t{value.bits} << 16); }

inline void narrow(float value, float& into) { into = value; }
inline void narrow(double value, double& into) { into = value; }
// To the nearest, to the even one of two.
inline void narrow(float value, Bf16& into) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    into.bits = std::isnan(value) ? 0x7fff : static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

}  // namespace emulate
