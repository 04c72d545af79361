// All three directions are a multiplication by a matrix of patches: a row for every pixel of the output, with the pixels of
// the input under the filter. It is made for some rows at a time. Sums are in f32, in f64 for tensors of f64.
#include "convolve.h"

#include <algorithm>
#include <vector>

#include "multiply.h"
#include "number.h"

namespace emulate {

namespace {

// Rows of the matrix of patches that are made at once.
constexpr size_t PART = 192;

struct Sizes {
    size_t n, c, h, w;  // input
    size_t k, r, s;     // filters, their height and width
    size_t oh, ow;      // output
    size_t groups, group_c, group_k;

    explicit Sizes(const Convolution& v)
        : n(of(v.x.size[0])),
          c(of(v.x.size[1])),
          h(of(v.x.size[2])),
          w(of(v.x.size[3])),
          k(of(v.w.size[0])),
          r(of(v.w.size[2])),
          s(of(v.w.size[3])),
          oh(of(v.y.size[2])),
          ow(of(v.y.size[3])),
          groups(of(v.how.groups)),
          group_c(c / groups),
          group_k(k / groups) {}
    static size_t of(int value) { return static_cast<size_t>(value); }
    size_t width() const { return r * s * group_c; }
};

template <typename T>
using Sum = decltype(widen(T{}));

// Where element (n, c, h, w) of a tensor lies.
struct Places {
    explicit Places(const cudnnTensorStruct& t) : step{at(t, 0), at(t, 1), at(t, 2), at(t, 3)} {}
    static size_t at(const cudnnTensorStruct& t, int i) { return static_cast<size_t>(t.step[i]); }
    size_t step[4];
};

template <typename Visit>
void for_pixels(const cudnnTensorStruct& t, Visit visit) {
    const Places places(t);
    size_t dense = 0;
    for (size_t n = 0; n < Sizes::of(t.size[0]); n++) {
        for (size_t h = 0; h < Sizes::of(t.size[2]); h++) {
            for (size_t w = 0; w < Sizes::of(t.size[3]); w++) {
                visit(dense, n * places.step[0] + h * places.step[2] + w * places.step[3], places.step[1]);
                dense += Sizes::of(t.size[1]);
            }
        }
    }
}

// To channels-last without gaps.
template <typename T, typename S>
void read(const cudnnTensorStruct& t, const void* from, std::vector<S>& into) {
    const size_t channels = Sizes::of(t.size[1]);
    into.resize(Sizes::of(t.size[0]) * channels * Sizes::of(t.size[2]) * Sizes::of(t.size[3]));
    for_pixels(t, [&](size_t dense, size_t place, size_t step) {
        const T* at = static_cast<const T*>(from) + place;
        if (step == 1) {
            for (size_t c = 0; c < channels; c++) {
                into[dense + c] = widen(at[c]);
            }
        } else {
            for (size_t c = 0; c < channels; c++) {
                into[dense + c] = widen(at[c * step]);
            }
        }
    });
}

// One value on its way to a result.
template <typename T, typename S>
void put(T& at, S value, const T& other, const Finish& finish, S bias) {
    value = static_cast<S>(finish.alpha) * value + bias;
    if (finish.beta != 0) {
        value += static_cast<S>(finish.beta) * widen(other);
    }
    narrow(finish.rectify && value < 0 ? S{0} : value, at);
}

template <typename T, typename S>
void write(const cudnnTensorStruct& t, const std::vector<S>& from, void* into, const Finish& finish) {
    const size_t channels = Sizes::of(t.size[1]);
    const T* bias = static_cast<const T*>(finish.bias);
    const T* others = static_cast<const T*>(finish.other != nullptr ? finish.other : into);
    for_pixels(t, [&](size_t dense, size_t place, size_t step) {
        for (size_t c = 0; c < channels; c++) {
            const size_t at = place + c * step;
            put(static_cast<T*>(into)[at], from[dense + c], others[at], finish, bias == nullptr ? S{0} : widen(bias[c]));
        }
    });
}

// Calls `visit` with the place of every weight in the caller's memory and in ours: by group, row, column, input channel,
// filter.
template <typename Visit>
void for_weights(const Convolution& v, const Sizes& z, Visit visit) {
    const bool last = v.w.format == CUDNN_TENSOR_NHWC;
    const bool turned = v.how.mode == CUDNN_CONVOLUTION;
    for (size_t k = 0; k < z.k; k++) {
        for (size_t c = 0; c < z.group_c; c++) {
            for (size_t r = 0; r < z.r; r++) {
                for (size_t s = 0; s < z.s; s++) {
                    const size_t theirs =
                        last ? ((k * z.r + r) * z.s + s) * z.group_c + c : ((k * z.group_c + c) * z.r + r) * z.s + s;
                    const size_t row = turned ? z.r - 1 - r : r;
                    const size_t column = turned ? z.s - 1 - s : s;
                    const size_t group = k / z.group_k;
                    visit(theirs, (((group * z.r + row) * z.s + column) * z.group_c + c) * z.group_k + k % z.group_k);
                }
            }
        }
    }
}

// Calls `visit` for every place under the filter of pixels `first` to `last` of the output: its place in the matrix and in
// the input, or -1 outside of it.
template <typename Visit>
void for_patches(const Convolution& v, const Sizes& z, size_t image, size_t first, size_t last, Visit visit) {
    size_t place = 0;
    for (size_t pixel = first; pixel < last; pixel++) {
        const long top = static_cast<long>(pixel / z.ow) * v.how.stride[0] - v.how.pad[0];
        const long left = static_cast<long>(pixel % z.ow) * v.how.stride[1] - v.how.pad[1];
        for (size_t r = 0; r < z.r; r++) {
            const long row = top + static_cast<long>(r) * v.how.dilation[0];
            for (size_t s = 0; s < z.s; s++) {
                const long column = left + static_cast<long>(s) * v.how.dilation[1];
                const bool inside =
                    row >= 0 && row < static_cast<long>(z.h) && column >= 0 && column < static_cast<long>(z.w);
                visit(place, inside
                                 ? static_cast<long>(
                                       ((image * z.h + static_cast<size_t>(row)) * z.w + static_cast<size_t>(column)) * z.c)
                                 : -1);
                place += z.group_c;
            }
        }
    }
}

// A matrix transposed.
template <typename S>
void turn_round(const S* from, S* into, size_t rows, size_t columns) {
    for (size_t row = 0; row < rows; row++) {
        for (size_t column = 0; column < columns; column++) {
            into[column * rows + row] = from[row * columns + column];
        }
    }
}

template <typename S>
struct Buffers {
    std::vector<S> x, w, y, turned, patches;
};

template <typename S>
struct Work {
    const Convolution& v;
    const Sizes& z;
    Buffers<S>& b;

    // The matrix of patches for some pixels. Where a filter covers one pixel of the input each, it is the input itself.
    View<S> patches(size_t image, size_t group, size_t first, size_t last) {
        const bool plain =
            z.r == 1 && z.s == 1 && v.how.stride[0] == 1 && v.how.stride[1] == 1 && v.how.pad[0] == 0 && v.how.pad[1] == 0;
        const S* x = b.x.data() + group * z.group_c;
        if (plain) {
            return {x + (image * z.h * z.w + first) * z.c, z.c, 1};
        }
        b.patches.resize(PART * z.width());
        for_patches(v, z, image, first, last, [&](size_t place, long from) {
            S* at = b.patches.data() + place;
            if (from < 0) {
                std::fill(at, at + z.group_c, S{0});
            } else {
                std::copy(x + from, x + from + z.group_c, at);
            }
        });
        return {b.patches.data(), z.width(), 1};
    }

    S* output(size_t image, size_t group, size_t pixel) {
        return b.y.data() + (image * z.oh * z.ow + pixel) * z.k + group * z.group_k;
    }

    void forward(size_t image, size_t group, size_t first, size_t last) {
        multiply(last - first, z.group_k, z.width(), patches(image, group, first, last),
                 b.w.data() + group * z.width() * z.group_k, z.group_k, output(image, group, first), z.k);
    }

    void data(size_t image, size_t group, size_t first, size_t last) {
        b.patches.assign((last - first) * z.width(), S{0});
        multiply(last - first, z.width(), z.group_k, View<S>{output(image, group, first), z.k, 1},
                 b.turned.data() + group * z.width() * z.group_k, z.width(), b.patches.data(), z.width());
        S* x = b.x.data() + group * z.group_c;
        for_patches(v, z, image, first, last, [&](size_t place, long into) {
            for (size_t c = 0; c < z.group_c && into >= 0; c++) {
                x[static_cast<size_t>(into) + c] += b.patches[place + c];
            }
        });
    }

    // With a filter of its own for every channel there is nothing to multiply by: channels go side by side instead. Weights
    // and their gradient lie in `turned`, by row, column and channel.
    template <typename Each>
    void depthwise(size_t image, size_t first, size_t last, Each each) {
        for_patches(v, z, image, first, last, [&](size_t place, long at) {
            if (at >= 0) {
                const size_t under = place % (z.r * z.s);
                each(b.x.data() + at, b.turned.data() + under * z.c, output(image, 0, first + place / (z.r * z.s)));
            }
        });
    }

    void depthwise(Direction direction, size_t image, size_t first, size_t last) {
        const size_t count = z.c;
        switch (direction) {
            case Direction::Forward:
                return depthwise(image, first, last,
                                 [=](const S* __restrict__ x, const S* __restrict__ w, S* __restrict__ y) {
                                     for (size_t c = 0; c < count; c++) y[c] += x[c] * w[c];
                                 });
            case Direction::Data:
                return depthwise(image, first, last,
                                 [=](S* __restrict__ x, const S* __restrict__ w, const S* __restrict__ y) {
                                     for (size_t c = 0; c < count; c++) x[c] += y[c] * w[c];
                                 });
            case Direction::Filter:
                return depthwise(image, first, last,
                                 [=](const S* __restrict__ x, S* __restrict__ w, const S* __restrict__ y) {
                                     for (size_t c = 0; c < count; c++) w[c] += x[c] * y[c];
                                 });
        }
    }

    void filter(size_t image, size_t group, size_t first, size_t last) {
        const View<S> p = patches(image, group, first, last);
        multiply(z.width(), z.group_k, last - first, View<S>{p.at, p.column_step, p.row_step}, output(image, group, first),
                 z.k, b.w.data() + group * z.width() * z.group_k, z.group_k);
    }
};

template <typename T>
void run(Direction direction, const Convolution& v, void* x, void* w, void* y, const Finish& finish, size_t turn) {
    using S = Sum<T>;
    static Buffers<S> buffers;
    const Sizes z(v);
    Buffers<S>& b = buffers;
    if (direction == Direction::Data) {
        b.x.assign(z.n * z.h * z.w * z.c, S{0});
    } else {
        read<T>(v.x, x, b.x);
    }
    b.w.assign(z.k * z.width(), S{0});
    if (direction != Direction::Filter) {
        for_weights(v, z, [&](size_t theirs, size_t ours) { b.w[ours] = widen(static_cast<const T*>(w)[theirs]); });
    }
    if (direction == Direction::Forward) {
        b.y.assign(z.n * z.oh * z.ow * z.k, S{0});
    } else {
        read<T>(v.y, y, b.y);
    }
    if (direction == Direction::Data) {
        b.turned.resize(b.w.size());
        const size_t weights = z.width() * z.group_k;
        for (size_t group = 0; group < z.groups; group++) {
            turn_round(b.w.data() + group * weights, b.turned.data() + group * weights, z.width(), z.group_k);
        }
    }
    const bool depthwise = z.group_c == 1 && z.group_k == 1;
    if (depthwise) {
        b.turned.resize(b.w.size());
        turn_round(b.w.data(), b.turned.data(), z.c, z.width());
    }
    Work<S> work{v, z, b};
    const size_t pixels = z.oh * z.ow, parts = (pixels + PART - 1) / PART, count = z.n * parts;
    for (size_t i = 0; i < count; i++) {
        const size_t part = (i + turn) % count, first = part % parts * PART, last = std::min(pixels, first + PART);
        if (depthwise) {
            work.depthwise(direction, part / parts, first, last);
            continue;
        }
        for (size_t group = 0; group < z.groups; group++) {
            switch (direction) {
                case Direction::Forward: work.forward(part / parts, group, first, last); break;
                case Direction::Data: work.data(part / parts, group, first, last); break;
                case Direction::Filter: work.filter(part / parts, group, first, last); break;
            }
        }
    }
    if (depthwise) {
        turn_round(b.turned.data(), b.w.data(), z.width(), z.c);
    }
    switch (direction) {
        case Direction::Forward: write<T>(v.y, b.y, y, finish); break;
        case Direction::Data: write<T>(v.x, b.x, x, finish); break;
        case Direction::Filter:
            for_weights(v, z, [&](size_t theirs, size_t ours) {
                T& at = static_cast<T*>(w)[theirs];
                put(at, b.w[ours], at, finish, S{0});
            });
    }
}

}  // namespace

void convolve(Direction direction, const Convolution& c, void* x, void* w, void* y, const Finish& finish, size_t turn) {
    switch (c.x.type) {
        case CUDNN_DATA_DOUBLE: return run<double>(direction, c, x, w, y, finish, turn);
        case CUDNN_DATA_FLOAT: return run<float>(direction, c, x, w, y, finish, turn);
        default: return run<Bf16>(direction, c, x, w, y, finish, turn);
    }
}

}  // namespace emulate
