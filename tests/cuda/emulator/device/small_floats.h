// Functions of bf16 and f16 that the toolkit's headers give to device code only: computed in f32 and rounded.
#pragma once

#define EMULATE_SMALL(name, expression)              \
    inline __half name(__half value) {               \
        const float x = __half2float(value);         \
        return __float2half(expression);             \
    }                                                \
    inline __nv_bfloat16 name(__nv_bfloat16 value) { \
        const float x = __bfloat162float(value);     \
        return __float2bfloat16(expression);         \
    }
EMULATE_SMALL(hsqrt, sqrtf(x))
EMULATE_SMALL(hrsqrt, 1.0f / sqrtf(x))
EMULATE_SMALL(hrcp, 1.0f / x)
EMULATE_SMALL(hexp, expf(x))
EMULATE_SMALL(hexp2, exp2f(x))
EMULATE_SMALL(hlog, logf(x))
EMULATE_SMALL(hlog2, log2f(x))
EMULATE_SMALL(hsin, sinf(x))
EMULATE_SMALL(hcos, cosf(x))
EMULATE_SMALL(htanh, tanhf(x))
EMULATE_SMALL(hfloor, floorf(x))
EMULATE_SMALL(hceil, ceilf(x))
EMULATE_SMALL(hrint, nearbyintf(x))
EMULATE_SMALL(htrunc, truncf(x))
#undef EMULATE_SMALL
