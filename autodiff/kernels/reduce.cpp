#include <algorithm>
#include <atomic>
#include <cstring>

#include <xgrad/autodiff/kernels/broadcast.hpp>
#include <xgrad/autodiff/kernels/move.hpp>
#include <xgrad/autodiff/kernels/pieces.hpp>
#include <xgrad/autodiff/kernels/reduce.hpp>
#include <xgrad/autodiff/kernels/slices.hpp>
#include <xgrad/autodiff/memory.hpp>

namespace xgrad::kernels {
namespace {

template <class T> using Fold = typename ReduceKernels<T>::Fold;

using memory::Scratch;

// Short columns that would leave more than half of a lane empty, as measured.
template <class T> bool suits_transposed_columns(const Slices& slices) {
    const std::size_t lanes = (level() == Level::portable ? 16 : level() == Level::avx2 ? 32 : 64) / sizeof(T);
    return are_short_columns(slices) && 2 * slices.inner < lanes && slices.count <= 2 * lanes;
}

// Folds all slices with `first`; partial results, where slices are long enough to be cut, are put together by `then`.
template <class T>
void fold(Fold<T> first, Fold<T> then, const T* x, const T* about, const Slices& slices, T* y,
          std::size_t longest_transposed = longest_transposed_row) {
    // Not structured bindings: lambdas of Clang before 16 cannot capture them.
    const std::size_t outer = slices.outer, count = slices.count, inner = slices.inner;
    if (slices.results() == 0) return;
    if (suits_transposed_columns<T>(slices) && !about)
        return over_blocks<T, 1>({x}, slices, inner, y, [&](auto& transposed) {
            first(transposed.inputs[0], nullptr, transposed.slices, transposed.slices.inner, transposed.results);
        });
    if (are_short_rows(slices, longest_transposed))
        return over_blocks<T, 1>({x}, slices, 1, nullptr, [&](const auto& transposed) {
            first(transposed.inputs[0], about ? about + transposed.first : nullptr, transposed.slices,
                  transposed.slices.inner, y + transposed.first);
        });
    if (outer == 1 && slices.size() >= worth_sharing) {
        // Long slices: each piece takes some rows of all columns. Few pieces, as their results are put together by one,
        // and of enough rows that those are little beside what they are of.
        const std::size_t rows = std::max({piece_length(inner), count / 32, std::size_t{16}});
        if (count >= 4 * rows) {
            const std::size_t pieces = ceil_divide(count, rows);
            const Scratch<T> partial(pieces * inner);
            const auto piece = [&](std::size_t i) {
                const std::size_t begin = i * rows, n = std::min(rows, count - begin);
                first(x + begin * inner, about, {1, n, inner}, inner, partial.data() + i * inner);
            };
            parallel(pieces, piece, slices.size() < brief_size);
            return then(partial.data(), nullptr, {1, pieces, inner}, inner, y);
        }
        // Many short ones.
        return columns_in_pieces(count, inner, [&](std::size_t column, std::size_t columns) {
            first(x + column, about ? about + column : nullptr, slices, columns, y + column);
        });
    }
    in_pieces(outer, count * inner, [&](std::size_t begin, std::size_t n) {
        first(x + begin * count * inner, about ? about + begin * inner : nullptr, {n, count, inner}, inner,
              y + begin * inner);
    });
}

template <class T>
void find(typename ReduceKernels<T>::Find search, const T* x, const Slices& slices, std::int64_t* y) {
    if (are_few_columns(slices)) return find(search, transposed_to_rows(x, slices).data(), as_rows(slices), y);
    constexpr std::size_t longest = 40;  // at any level: rows as they stand are searched one by one
    if (are_short_rows(slices, longest))
        return over_blocks<T, 1>({x}, slices, 1, nullptr, [&](const auto& transposed) {
            search(transposed.inputs[0], transposed.slices, transposed.slices.inner, y + transposed.first);
        });
    slices_in_pieces(slices, [&](std::size_t i, std::size_t result, const Slices& piece, std::size_t columns) {
        search(x + i, piece, columns, y + result);
    });
}

// Neighbouring dimensions that are treated alike, as one.
struct Group {
    std::size_t size;
    bool repeated;
};

// A broadcast of `narrow` to `wide` as few alternating groups, the slowest first.
memory::Vector<Group> groups(std::span<const std::size_t> wide, std::span<const std::size_t> narrow) {
    memory::Vector<Group> result;
    const std::size_t missing = wide.size() - narrow.size();
    for (std::size_t d = 0; d < wide.size(); ++d) {
        if (wide[d] == 1) continue;
        const bool repeated = d < missing || narrow[d - missing] == 1;
        if (!result.empty() && result.back().repeated == repeated)
            result.back().size *= wide[d];
        else
            result.push_back({wide[d], repeated});
    }
    return result;
}

std::size_t product(std::span<const Group> groups) {
    std::size_t size = 1;
    for (const Group& group : groups) size *= group.size;
    return size;
}

}  // namespace

template <class T> void sum(const T* x, const Slices& slices, T* y) {
    const auto& kernels = reduce_kernels<T>();
    fold<T>(kernels.sum, kernels.sum, x, nullptr, slices, y);
}

template <class T> void prod(const T* x, const Slices& slices, T* y) {
    const auto& kernels = reduce_kernels<T>();
    fold<T>(kernels.prod, kernels.prod, x, nullptr, slices, y);
}

namespace {

// What stands before an element in its column, times what stands after it. `running` holds a number for each column.
template <class T>
void others_in_columns(const T* __restrict x, std::size_t rows, std::size_t columns, std::size_t stride,
                       T* __restrict y, T* __restrict running) {
    std::fill_n(running, columns, T{1});
    for (std::size_t row = 0; row < rows; ++row)
        for (std::size_t i = 0; i < columns; ++i) {
            y[row * stride + i] = running[i];
            running[i] *= x[row * stride + i];
        }
    std::fill_n(running, columns, T{1});
    for (std::size_t row = rows; row-- > 0;)
        for (std::size_t i = 0; i < columns; ++i) {
            y[row * stride + i] *= running[i];
            running[i] *= x[row * stride + i];
        }
}

// A long row as the rows of a matrix and a rest: an element's others are those of its column, and the other columns,
// for which each number of the rest counts as well.
template <class T> void others_in_long_row(const T* x, std::size_t count, T* y) {
    constexpr std::size_t columns = 256;
    const std::size_t rows = count / columns, whole = rows * columns, rest = count % columns;
    T products[2 * columns], others[2 * columns];
    prod(x, {1, rows, columns}, products);
    std::copy_n(x + whole, rest, products + columns);
    products_of_others(products, {1, columns + rest, 1}, others);
    products_of_others(x, {1, rows, columns}, y);
    in_pieces(rows, columns, [&](std::size_t begin, std::size_t n) {
        for (std::size_t row = begin; row < begin + n; ++row)
            for (std::size_t i = 0; i < columns; ++i) y[row * columns + i] *= others[i];
    });
    std::copy_n(others + columns, rest, y + whole);
}

}  // namespace

template <class T> void products_of_others(const T* x, const Slices& slices, T* y) {
    // Rows are transposed into columns, some at a time: along a row each product waits for the one before.
    constexpr std::size_t group = 16, longest = 4096;
    const std::size_t outer = slices.outer, count = slices.count, inner = slices.inner, size = count * inner;
    if (size == 0) return;
    if (inner == 1 && count > longest) {
        for (std::size_t row = 0; row < outer; ++row) others_in_long_row(x + row * count, count, y + row * count);
        return;
    }
    if (inner > 1 && outer == 1)
        return columns_in_pieces(count, inner, [&](std::size_t column, std::size_t columns) {
            const Scratch<T> running(columns);
            others_in_columns(x + column, count, columns, inner, y + column, running.data());
        });
    if (inner > 1)
        return in_pieces(outer, size, [&](std::size_t begin, std::size_t n) {
            const Scratch<T> running(inner);
            for (std::size_t i = begin; i < begin + n; ++i)
                others_in_columns(x + i * size, count, inner, inner, y + i * size, running.data());
        });
    in_pieces(ceil_divide(outer, group), group * count, [&](std::size_t begin, std::size_t n) {
        const Scratch<T> transposed(count * group), products(count * group), running(group);
        for (std::size_t row = begin * group; row < std::min(outer, (begin + n) * group); row += group) {
            const std::size_t rows = std::min(group, outer - row);
            transpose(x + row * count, count, count, rows, transposed.data(), rows);
            others_in_columns(transposed.data(), count, rows, rows, products.data(), running.data());
            transpose(products.data(), rows, rows, count, y + row * count, count);
        }
    });
}

template <class T> void max(const T* x, const Slices& slices, T* y) {
    const auto& kernels = reduce_kernels<T>();
    fold<T>(kernels.max, kernels.max, x, nullptr, slices, y);
}

template <class T> void min(const T* x, const Slices& slices, T* y) {
    const auto& kernels = reduce_kernels<T>();
    fold<T>(kernels.min, kernels.min, x, nullptr, slices, y);
}

template <class T>
void mean_and_variance(const T* x, const Slices& slices, std::size_t correction, T* mean, T* variance) {
    const auto& kernels = reduce_kernels<T>();
    const std::size_t results = slices.results();
    const T count = static_cast<T>(slices.count);
    fold<T>(kernels.sum, kernels.sum, x, nullptr, slices, mean);
    divide_in_place(mean, count, results);
    if (!variance) return;
    fold<T>(kernels.squared_deviations, kernels.sum, x, mean, slices, variance);
    divide_in_place(variance, count - static_cast<T>(correction), results);
}

template <class T> void logsumexp(const T* x, const Slices& slices, T* y) {
    const auto kernel = reduce_kernels<T>().logsumexp;
    if (are_short_columns(slices))
        return over_blocks<T, 1>({x}, slices, slices.inner, y, [&](auto& transposed) {
            kernel(transposed.inputs[0], nullptr, transposed.slices, transposed.slices.inner, transposed.results);
        });
    if (are_few_columns(slices)) return logsumexp(transposed_to_rows(x, slices).data(), as_rows(slices), y);
    fold<T>(kernel, kernel, x, nullptr, slices, y, longest_where_wide(32));
}

template <class T> void argmax(const T* x, const Slices& slices, std::int64_t* y) {
    find<T>(reduce_kernels<T>().argmax, x, slices, y);
}

template <class T> void argmin(const T* x, const Slices& slices, std::int64_t* y) {
    find<T>(reduce_kernels<T>().argmin, x, slices, y);
}

template <class T> void extremum_backward(const T* x, const Slices& slices, const T* y, const T* g, T* dx) {
    const auto backward = reduce_kernels<T>().extremum_backward;
    if (are_short_rows(slices, longest_where_wide(20)))
        return over_blocks<T, 1>({x}, slices, slices.count, dx, [&](auto& transposed) {
            backward(transposed.inputs[0], transposed.slices, transposed.slices.inner, y + transposed.first,
                     g + transposed.first, transposed.results);
        });
    slices_in_pieces(slices, [&](std::size_t i, std::size_t result, const Slices& piece, std::size_t columns) {
        backward(x + i, piece, columns, y + result, g + result, dx + i);
    });
}

template <class T>
void reduce_to(Reduce<T> reduce, const T* x, std::span<const std::size_t> from, T* y, std::span<const std::size_t> to) {
    memory::Vector<Group> left = groups(from, to);
    if (product(left) == 0) {
        std::size_t size = 1;
        for (const std::size_t n : to) size *= n;
        return reduce(nullptr, {1, 0, size}, y);
    }
    // The longest repetition first: what it leaves for the next ones is small.
    Scratch<T> previous;
    for (;;) {
        std::size_t longest = left.size(), repetitions = 0;
        for (std::size_t i = 0; i < left.size(); ++i) {
            if (!left[i].repeated) continue;
            ++repetitions;
            if (longest == left.size() || left[i].size > left[longest].size) longest = i;
        }
        if (repetitions == 0) {
            std::memcpy(y, x, product(left) * sizeof(T));
            return;
        }
        const std::span<const Group> all(left);
        const Slices slices{product(all.first(longest)), left[longest].size, product(all.subspan(longest + 1))};
        if (repetitions == 1) return reduce(x, slices, y);
        Scratch<T> result(slices.results());
        reduce(x, slices, result.data());
        previous = std::move(result);
        x = previous.data();
        left.erase(left.begin() + static_cast<std::ptrdiff_t>(longest));
    }
}

template <class T> void sum_to(const T* x, std::span<const std::size_t> from, T* y, std::span<const std::size_t> to) {
    reduce_to<T>(sum, x, from, y, to);
}

namespace {

// Writes a row again and again: from what stands there, ever more rows at a time, as many as the nearest cache holds.
template <class T> void repeat(const T* row, std::size_t length, std::size_t rows, T* y, const Copy<T>& copy) {
    const std::size_t size = rows * length, most = std::max(length, 8192 / sizeof(T) / length * length);
    copy(row, length, y);
    for (std::size_t done = length, more; done < size; done += more) {
        more = std::min({done, most, size - done});
        copy(y, more, y + done);
    }
}

}  // namespace

template <class T>
void broadcast_to(const T* x, std::span<const std::size_t> from, T* y, std::span<const std::size_t> to) {
    const auto fill = move_kernels<T>().fill;
    const Copy<T> copy;
    const Broadcast loop(to, {from});
    const Pass<T, 1> pass(loop, &x);
    in_pieces(loop.size, 1, [&](std::size_t first, std::size_t count) {
        pass.each_stretch(first, first + count, [&](std::size_t begin, const Stretch<T, 1>& stretch) {
            const T* row = stretch.at[0];
            T* to_row = y + begin;
            if (stretch.stride[0] == 1 && stretch.row_stride[0] == 0)
                return repeat(row, stretch.length, stretch.rows, to_row, copy);
            for (std::size_t r = 0; r < stretch.rows; ++r) {
                if (stretch.stride[0] == 0)
                    fill(to_row, *row, stretch.length);
                else
                    copy(row, stretch.length, to_row);
                row += stretch.row_stride[0];
                to_row += stretch.length;
            }
        });
    });
}

template <class T> T dot(const T* a, const T* b, std::size_t n) {
    const auto& kernels = reduce_kernels<T>();
    if (n < worth_sharing) return kernels.dot(a, b, n);
    const std::size_t pieces = ceil_divide(n, piece_size);
    const Scratch<T> partial(pieces);
    in_pieces(n, 1, [&](std::size_t begin, std::size_t count) {
        partial.data()[begin / piece_size] = kernels.dot(a + begin, b + begin, count);
    });
    T result;
    kernels.sum(partial.data(), nullptr, {1, pieces, 1}, 1, &result);
    return result;
}

template <class T> T squared_norm(const T* a, std::size_t n) { return dot(a, a, n); }

template <class T> void add_in_place(T* target, const T* source, std::size_t n) {
    const auto add = reduce_kernels<T>().add_in_place;
    in_pieces(n, 1, [&](std::size_t begin, std::size_t count) { add(target + begin, source + begin, count); });
}

template <class T> void divide_in_place(T* target, T divisor, std::size_t n) {
    const auto divide = reduce_kernels<T>().divide_in_place;
    in_pieces(n, 1, [&](std::size_t begin, std::size_t count) { divide(target + begin, divisor, count); });
}

template <class T> bool all_finite(const T* x, std::size_t n) {
    const auto are_finite = reduce_kernels<T>().all_finite;
    std::atomic<bool> all{true};
    in_pieces(n, 1, [&](std::size_t begin, std::size_t count) {
        if (!are_finite(x + begin, count)) all.store(false, std::memory_order_relaxed);
    });
    return all;
}

#define XGRAD_REDUCE(T)                                                                                           \
    template void sum(const T*, const Slices&, T*);                                                               \
    template void prod(const T*, const Slices&, T*);                                                              \
    template void products_of_others(const T*, const Slices&, T*);                                                \
    template void max(const T*, const Slices&, T*);                                                               \
    template void min(const T*, const Slices&, T*);                                                               \
    template void mean_and_variance(const T*, const Slices&, std::size_t, T*, T*);                                \
    template void logsumexp(const T*, const Slices&, T*);                                                         \
    template void argmax(const T*, const Slices&, std::int64_t*);                                                 \
    template void argmin(const T*, const Slices&, std::int64_t*);                                                 \
    template void extremum_backward(const T*, const Slices&, const T*, const T*, T*);                             \
    template void reduce_to(Reduce<T>, const T*, std::span<const std::size_t>, T*, std::span<const std::size_t>); \
    template void sum_to(const T*, std::span<const std::size_t>, T*, std::span<const std::size_t>);               \
    template void broadcast_to(const T*, std::span<const std::size_t>, T*, std::span<const std::size_t>);         \
    template T dot(const T*, const T*, std::size_t);                                                              \
    template T squared_norm(const T*, std::size_t);                                                               \
    template void add_in_place(T*, const T*, std::size_t);                                                        \
    template void divide_in_place(T*, T, std::size_t);                                                            \
    template bool all_finite(const T*, std::size_t);
XGRAD_REDUCE(float)
XGRAD_REDUCE(double)

}  // namespace xgrad::kernels
