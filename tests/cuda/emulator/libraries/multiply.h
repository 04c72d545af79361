// into += a * b, with `b` and `into` stored by rows. Fast enough to train small networks with.
#pragma once

#include <cstddef>
#include <cstring>

namespace emulate {

// A matrix whose element (row, column) lies at row * row_step + column * column_step.
template <typename T>
struct View {
    const T* at;
    size_t row_step;
    size_t column_step;
};

namespace multiplying {

constexpr size_t ROWS = 6;
constexpr size_t VECTORS = 2;

template <typename T>
struct Wide {
    typedef T type __attribute__((vector_size(32), aligned(alignof(T)), may_alias));
    static constexpr size_t lanes = 32 / sizeof(T);
};

template <typename T, size_t rows, size_t vectors>
inline void tile(size_t depth, View<T> a, const T* b, size_t b_step, T* into, size_t into_step) {
    using V = typename Wide<T>::type;
    constexpr size_t lanes = Wide<T>::lanes;
    V sums[rows][vectors] = {};
    for (size_t k = 0; k < depth; k++) {
        V right[vectors];
        for (size_t v = 0; v < vectors; v++) {
            right[v] = *reinterpret_cast<const V*>(b + k * b_step + v * lanes);
        }
        for (size_t r = 0; r < rows; r++) {
            const T left = a.at[r * a.row_step + k * a.column_step];
            for (size_t v = 0; v < vectors; v++) {
                sums[r][v] += left * right[v];
            }
        }
    }
    for (size_t r = 0; r < rows; r++) {
        for (size_t v = 0; v < vectors; v++) {
            *reinterpret_cast<V*>(into + r * into_step + v * lanes) += sums[r][v];
        }
    }
}

template <typename T, size_t vectors>
inline void strip(size_t rows, size_t depth, View<T> a, const T* b, size_t b_step, T* into, size_t into_step) {
    size_t row = 0;
    for (; row + ROWS <= rows; row += ROWS) {
        tile<T, ROWS, vectors>(depth, {a.at + row * a.row_step, a.row_step, a.column_step}, b, b_step,
                               into + row * into_step, into_step);
    }
    for (; row < rows; row++) {
        tile<T, 1, vectors>(depth, {a.at + row * a.row_step, a.row_step, a.column_step}, b, b_step, into + row * into_step,
                            into_step);
    }
}

}  // namespace multiplying

template <typename T>
void multiply(size_t rows, size_t columns, size_t depth, View<T> a, const T* b, size_t b_step, T* into, size_t into_step) {
    using namespace multiplying;
    constexpr size_t lanes = Wide<T>::lanes;
    size_t column = 0;
    for (; column + VECTORS * lanes <= columns; column += VECTORS * lanes) {
        strip<T, VECTORS>(rows, depth, a, b + column, b_step, into + column, into_step);
    }
    for (; column + lanes <= columns; column += lanes) {
        strip<T, 1>(rows, depth, a, b + column, b_step, into + column, into_step);
    }
    if (column == columns) {
        return;
    }
    for (size_t row = 0; row < rows; row++) {
        T sums[lanes] = {};
        const size_t rest = columns - column;
        for (size_t k = 0; k < depth; k++) {
            const T left = a.at[row * a.row_step + k * a.column_step];
            for (size_t c = 0; c < rest; c++) {
                sums[c] += left * b[k * b_step + column + c];
            }
        }
        for (size_t c = 0; c < rest; c++) {
            into[row * into_step + column + c] += sums[c];
        }
    }
}

}  // namespace emulate
