// Barriers, shuffles and votes.
#pragma once

#include <utility>

namespace emulate {

// Runs something that lets other threads run; this thread's indices are set again after it.
template <typename Wait>
inline auto waiting(Wait wait) {
    const uint3 mine = threadIdx;
    if constexpr (std::is_void_v<decltype(wait())>) {
        wait();
        threadIdx = mine;
    } else {
        auto result = wait();
        threadIdx = mine;
        return result;
    }
}

template <typename T>
inline void exchange(unsigned mask, const T& value, Exchange& with) {
    static_assert(sizeof(T) <= sizeof with.brought, "at most 16 bytes are exchanged");
    with.mask = mask;
    memcpy(with.brought, &value, sizeof(T));
    waiting([&] { s2pipe_emulate_exchange(&with); });
}

template <typename T>
inline T brought_by(const Exchange& with, unsigned lane) {
    T value;
    memcpy(&value, with.all[lane], sizeof(T));
    return value;
}

// The lane to read from: `pick` gets the lane's place in its group of `width`, and gives another or one outside.
template <typename T, typename Pick>
inline T shuffle(unsigned mask, T value, int width, Pick pick) {
    Exchange with;
    exchange(mask, value, with);
    const int lane = static_cast<int>(s2pipe_emulate_lane());
    const int from = pick(lane % width);
    return from < 0 || from >= width ? value : brought_by<T>(with, lane / width * width + from);
}

template <typename T, typename Join>
inline T reduce(unsigned mask, T value, Join join) {
    Exchange with;
    exchange(mask, value, with);
    bool first = true;
    T result{};
    for (unsigned lane = 0; lane < WARP; lane++) {
        if (mask >> lane & 1) {
            const T other = brought_by<T>(with, lane);
            result = first ? other : join(result, other);
            first = false;
        }
    }
    return result;
}

}  // namespace emulate

inline void __syncthreads() {
    emulate::waiting([] { s2pipe_emulate_barrier(0); });
}
inline int __syncthreads_count(int predicate) {
    return emulate::waiting([=] { return s2pipe_emulate_barrier(predicate != 0); });
}
inline int __syncthreads_or(int predicate) { return __syncthreads_count(predicate) != 0; }
inline int __syncthreads_and(int predicate) { return __syncthreads_count(!predicate) == 0; }

inline void __syncwarp(unsigned mask = 0xffffffff) {
    emulate::Exchange with;
    emulate::exchange(mask, 0, with);
}

template <typename T>
inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
    return emulate::shuffle(mask, value, width, [=](int) { return lane & (width - 1); });
}
template <typename T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32) {
    return emulate::shuffle(mask, value, width, [=](int lane) { return lane + static_cast<int>(by); });
}
template <typename T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32) {
    return emulate::shuffle(mask, value, width, [=](int lane) { return lane - static_cast<int>(by); });
}
template <typename T>
inline T __shfl_xor_sync(unsigned mask, T value, int by, int width = 32) {
    return emulate::shuffle(mask, value, width, [=](int lane) { return lane ^ by; });
}

inline unsigned __ballot_sync(unsigned mask, int predicate) {
    emulate::Exchange with;
    emulate::exchange(mask, static_cast<uint64_t>(predicate != 0), with);
    unsigned votes = 0;
    for (unsigned lane = 0; lane < emulate::WARP; lane++) {
        votes |= static_cast<unsigned>(with.all[lane][0] == 1) << lane;
    }
    return votes;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, !predicate) == 0; }
inline unsigned __activemask() { return s2pipe_emulate_active(); }

template <typename T>
inline T __reduce_add_sync(unsigned mask, T value) {
    return emulate::reduce(mask, value, [](T a, T b) { return a + b; });
}
template <typename T>
inline T __reduce_max_sync(unsigned mask, T value) {
    return emulate::reduce(mask, value, [](T a, T b) { return a > b ? a : b; });
}
template <typename T>
inline T __reduce_min_sync(unsigned mask, T value) {
    return emulate::reduce(mask, value, [](T a, T b) { return a < b ? a : b; });
}
template <typename T>
inline unsigned __match_any_sync(unsigned mask, T value) {
    emulate::Exchange with;
    emulate::exchange(mask, value, with);
    unsigned same = 0;
    for (unsigned lane = 0; lane < emulate::WARP; lane++) {
        same |= static_cast<unsigned>((mask >> lane & 1) && emulate::brought_by<T>(with, lane) == value) << lane;
    }
    return same;
}

// One thread runs at a time, and memory is seen by all at once.
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
[[noreturn]] inline void __trap() { s2pipe_emulate_trap("__trap was called"); }
inline long long clock64() { return 0; }
inline void __nanosleep(unsigned) {}
