// Atomic operations: one thread runs at a time, so plain ones do.
#pragma once

namespace emulate {

template <typename T>
struct Same {
    using type = T;
};
template <typename T>
using same = typename Same<T>::type;

template <typename T, typename Change>
inline T change(T* at, Change change) {
    const T old = *at;
    *at = change(old);
    return old;
}

}  // namespace emulate

template <typename T>
inline T atomicAdd(T* at, emulate::same<T> by) {
    return emulate::change(at, [=](T old) { return static_cast<T>(old + by); });
}
template <typename T>
inline T atomicSub(T* at, emulate::same<T> by) {
    return emulate::change(at, [=](T old) { return static_cast<T>(old - by); });
}
template <typename T>
inline T atomicMax(T* at, emulate::same<T> with) {
    return emulate::change(at, [=](T old) { return old > with ? old : with; });
}
template <typename T>
inline T atomicMin(T* at, emulate::same<T> with) {
    return emulate::change(at, [=](T old) { return old < with ? old : with; });
}
template <typename T>
inline T atomicOr(T* at, emulate::same<T> with) {
    return emulate::change(at, [=](T old) { return old | with; });
}
template <typename T>
inline T atomicAnd(T* at, emulate::same<T> with) {
    return emulate::change(at, [=](T old) { return old & with; });
}
template <typename T>
inline T atomicXor(T* at, emulate::same<T> with) {
    return emulate::change(at, [=](T old) { return old ^ with; });
}
template <typename T>
inline T atomicExch(T* at, emulate::same<T> with) {
    return emulate::change(at, [=](T) { return with; });
}
template <typename T>
inline T atomicCAS(T* at, emulate::same<T> expected, emulate::same<T> with) {
    return emulate::change(at, [=](T old) { return old == expected ? with : old; });
}
inline unsigned atomicInc(unsigned* at, unsigned last) {
    return emulate::change(at, [=](unsigned old) { return old >= last ? 0 : old + 1; });
}
inline unsigned atomicDec(unsigned* at, unsigned last) {
    return emulate::change(at, [=](unsigned old) { return old == 0 || old > last ? last : old - 1; });
}
