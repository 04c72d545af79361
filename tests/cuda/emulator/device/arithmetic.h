// Functions that device code has and a host compiler has not. Those that are approximations on a GPU are exact here.
#pragma once

namespace emulate {

template <typename Into, typename From>
inline Into bits(From from) {
    static_assert(sizeof(Into) == sizeof(From));
    Into into;
    memcpy(&into, &from, sizeof into);
    return into;
}

template <typename A, typename B>
using common = std::enable_if_t<std::is_arithmetic_v<A> && std::is_arithmetic_v<B>, std::common_type_t<A, B>>;

}  // namespace emulate

template <typename A, typename B>
constexpr emulate::common<A, B> min(A a, B b) {
    using T = emulate::common<A, B>;
    if constexpr (std::is_floating_point_v<T>) {
        return std::fmin(static_cast<T>(a), static_cast<T>(b));
    } else {
        return static_cast<T>(b) < static_cast<T>(a) ? static_cast<T>(b) : static_cast<T>(a);
    }
}
template <typename A, typename B>
constexpr emulate::common<A, B> max(A a, B b) {
    using T = emulate::common<A, B>;
    if constexpr (std::is_floating_point_v<T>) {
        return std::fmax(static_cast<T>(a), static_cast<T>(b));
    } else {
        return static_cast<T>(a) < static_cast<T>(b) ? static_cast<T>(b) : static_cast<T>(a);
    }
}

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / ::sqrt(x); }
inline float normcdff(float x) { return 0.5f * erfcf(-x * static_cast<float>(M_SQRT1_2)); }
inline double normcdf(double x) { return 0.5 * erfc(-x * M_SQRT1_2); }
inline float fdividef(float a, float b) { return a / b; }

inline float __expf(float x) { return expf(x); }
inline float __exp10f(float x) { return exp10f(x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __log10f(float x) { return log10f(x); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __tanf(float x) { return tanf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __saturatef(float x) { return x >= 0.0f ? fminf(x, 1.0f) : 0.0f; }

#define EMULATE_ROUNDED(name, type, expression)                                                \
    inline type name##_rn(type a, [[maybe_unused]] type b) {                                   \
        volatile type result = expression; /* so that it is not joined to another operation */ \
        return result;                                                                         \
    }
EMULATE_ROUNDED(__fadd, float, a + b)
EMULATE_ROUNDED(__fsub, float, a - b)
EMULATE_ROUNDED(__fmul, float, a* b)
EMULATE_ROUNDED(__fdiv, float, a / b)
EMULATE_ROUNDED(__dadd, double, a + b)
EMULATE_ROUNDED(__dsub, double, a - b)
EMULATE_ROUNDED(__dmul, double, a* b)
EMULATE_ROUNDED(__ddiv, double, a / b)
#undef EMULATE_ROUNDED
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return ::fma(a, b, c); }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline double __dsqrt_rn(double x) { return ::sqrt(x); }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __frsqrt_rn(float x) { return 1.0f / sqrtf(x); }

inline unsigned __float_as_uint(float x) { return emulate::bits<unsigned>(x); }
inline int __float_as_int(float x) { return emulate::bits<int>(x); }
inline float __uint_as_float(unsigned x) { return emulate::bits<float>(x); }
inline float __int_as_float(int x) { return emulate::bits<float>(x); }
inline long long __double_as_longlong(double x) { return emulate::bits<long long>(x); }
inline double __longlong_as_double(long long x) { return emulate::bits<double>(x); }
inline int __float2int_rn(float x) { return static_cast<int>(nearbyintf(x)); }
inline int __float2int_rz(float x) { return static_cast<int>(x); }
inline int __float2int_rd(float x) { return static_cast<int>(floorf(x)); }
inline int __float2int_ru(float x) { return static_cast<int>(ceilf(x)); }
inline unsigned __float2uint_rn(float x) { return static_cast<unsigned>(nearbyintf(x)); }
inline unsigned __float2uint_rz(float x) { return static_cast<unsigned>(x); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
inline float __ull2float_rn(unsigned long long x) { return static_cast<float>(x); }
inline float __double2float_rn(double x) { return static_cast<float>(x); }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __brev(unsigned x) {
    unsigned result = 0;
    for (int bit = 0; bit < 32; bit++) {
        result |= (x >> bit & 1) << (31 - bit);
    }
    return result;
}
inline int __mul24(int a, int b) { return a * b; }
inline unsigned __umul24(unsigned a, unsigned b) { return a * b; }
inline int __mulhi(int a, int b) { return static_cast<int>(static_cast<long long>(a) * b >> 32); }
inline unsigned __umulhi(unsigned a, unsigned b) {
    return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned by) {
    return static_cast<unsigned>((static_cast<unsigned long long>(high) << 32 | low) << (by & 31) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) {
    return static_cast<unsigned>((static_cast<unsigned long long>(high) << 32 | low) >> (by & 31));
}

// Loads and stores with a hint for the caches.
template <typename T>
inline T __ldg(const T* at) {
    return *at;
}
template <typename T>
inline T __ldca(const T* at) {
    return *at;
}
template <typename T>
inline T __ldcg(const T* at) {
    return *at;
}
template <typename T>
inline T __ldcs(const T* at) {
    return *at;
}
template <typename T>
inline void __stcg(T* at, emulate::same<T> value) {
    *at = value;
}
template <typename T>
inline void __stcs(T* at, emulate::same<T> value) {
    *at = value;
}
template <typename T>
inline void __stwb(T* at, emulate::same<T> value) {
    *at = value;
}
#define __builtin_assume(condition) ((void)0)
