#include <limits>

#include <xgrad/autodiff/kernels/packed_columns.hpp>
#include <xgrad/autodiff/kernels/rows.hpp>
#include <xgrad/autodiff/kernels/softmax.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {
namespace {

// The backward waits for less than the forward does and reads two arrays: rows side by side pay up to so many bytes.
constexpr std::size_t longest_backward = 256;

template <class T, class Slice> auto largest(const Slice& slice, const T* x) {
    return slice.template fold<Top>([&](std::size_t i, auto part) { return part.load(x + i); });
}

template <class T>
XGRAD_FLATTEN void softmax_slices(const T* x, const Slices& slices, std::size_t columns, T* y, T* logsumexp) {
    each_slice<T, longest_computed, true>(slices, columns, [&](std::size_t offset, std::size_t result, auto slice) {
        const T* from = x + offset;
        T* to = y + offset;
        auto top = largest(slice, from);
        if (logsumexp) top = finite_or_zero(top);
        const auto tops = slice.spread(top);
        // (As if in place even where it is not, so that sums are the same.)
        const auto total = slice.in_place().template fold<Sum>([&](std::size_t i, auto part) {
            const auto power = exp(part.load(from + i) - tops);
            part.store(power, to + i);
            return power;
        });
        if (logsumexp) slice.put(top + log(total), logsumexp + result);
        const auto scale = slice.spread(Lane<T>(1) / total);
        slice.in_place().each([&](std::size_t i, auto part) { part.store(part.load(to + i) * scale, to + i); });
    });
}

template <class T> XGRAD_FLATTEN void log_softmax_slices(const T* x, const Slices& slices, std::size_t columns, T* y) {
    each_slice<T, longest_computed, true>(slices, columns, [&](std::size_t offset, std::size_t, auto slice) {
        const T* from = x + offset;
        T* to = y + offset;
        const auto top = slice.spread(largest(slice, from));
        const auto log_total = slice.spread(
            log(slice.template fold<Sum>([&](std::size_t i, auto part) { return exp(part.load(from + i) - top); })));
        slice.in_place(x == y).each(
            [&](std::size_t i, auto part) { part.store(part.load(from + i) - top - log_total, to + i); });
    });
}

template <class T>
XGRAD_FLATTEN void softmax_backward_slices(const T* y, const T* g, const Slices& slices, std::size_t columns, T* dx) {
    each_slice<T, longest_backward, true>(slices, columns, [&](std::size_t offset, std::size_t, auto slice) {
        const T *result = y + offset, *cotangent = g + offset;
        T* to = dx + offset;
        const auto total = slice.spread(slice.template fold<Sum>(
            [&](std::size_t i, auto part) { return part.load(cotangent + i) * part.load(result + i); }));
        slice.in_place(dx == g || dx == y).each([&](std::size_t i, auto part) {
            part.store(part.load(result + i) * (part.load(cotangent + i) - total), to + i);
        });
    });
}

template <class T>
XGRAD_FLATTEN void log_softmax_backward_slices(const T* y, const T* g, const Slices& slices, std::size_t columns,
                                               T* dx) {
    each_slice<T, longest_backward, true>(slices, columns, [&](std::size_t offset, std::size_t, auto slice) {
        const T *result = y + offset, *cotangent = g + offset;
        T* to = dx + offset;
        const auto minus_total =
            slice.spread(-slice.template fold<Sum>([&](std::size_t i, auto part) { return part.load(cotangent + i); }));
        slice.in_place(dx == g || dx == y).each([&](std::size_t i, auto part) {
            part.store(fma(exp(part.load(result + i)), minus_total, part.load(cotangent + i)), to + i);
        });
    });
}

// Runs body(k, label, first) for the samples of a slice: the k-th place of what belongs to them, and where their first
// class is.
template <class T, class Body> void each_sample(const Row<T>&, const std::int64_t* labels, const Body& body) {
    body(std::size_t{0}, *labels, std::size_t{0});
}
template <class T, class Body> void each_sample(const Rows<T>& rows, const std::int64_t* labels, const Body& body) {
    for (std::size_t k = 0; k < Rows<T>::size; ++k) body(k, labels[k], k * rows.count);
}
template <class T, class Body> void each_sample(const Column<T, Whole>&, const std::int64_t* labels, const Body& body) {
    for (std::size_t k = 0; k < Lane<T>::width; ++k) body(k, labels[k], k);
}
template <class T, class Body> void each_sample(const Columns<T>&, const std::int64_t* labels, const Body& body) {
    for (std::size_t k = 0; k < Columns<T>::size; ++k) body(k, labels[k], k);
}
template <class T, class Body>
void each_sample(const Column<T, Part>& column, const std::int64_t* labels, const Body& body) {
    for (std::size_t k = 0; k < column.places.count; ++k) body(k, labels[k], k);
}

// The weight of the class at an offset of a slice: a lane of classes along a row, one class down a column.
template <class Slice, class T, class Part>
Lane<T> class_weight(const Slice&, const T* weights, std::size_t i, Part part) {
    return part.load_shared(weights + i);
}
template <class T, class Places>
Lane<T> class_weight(const Column<T, Places>& column, const T* weights, std::size_t i, Places) {
    return Lane<T>(weights[i / column.stride]);
}
template <class T, class Part> Lane<T> class_weight(const Columns<T>& columns, const T* weights, std::size_t i, Part) {
    return Lane<T>(weights[i / columns.stride]);
}

template <class T>
XGRAD_FLATTEN void cross_entropy_slices(const T* x, const Slices& slices, std::size_t columns,
                                        const CrossEntropyTarget<T>& target, const CrossEntropyResult<T>& result) {
    const std::size_t inner = slices.inner;
    const T* weights = target.class_weights;
    const T smooth = target.label_smoothing / static_cast<T>(slices.count);
    each_slice<T, longest_computed, true>(slices, columns, [&](std::size_t offset, std::size_t sample, auto slice) {
        const T* from = x + offset;
        const auto top = largest(slice, from);
        const auto its_top = slice.spread(top);
        auto total = top;
        if (T* to = result.probabilities ? result.probabilities + offset : nullptr) {
            total = slice.template fold<Sum>([&](std::size_t i, auto part) {
                const auto power = exp(part.load(from + i) - its_top);
                part.store(power, to + i);
                return power;
            });
            const auto scale = slice.spread(Lane<T>(1) / total);
            slice.in_place().each([&](std::size_t i, auto part) { part.store(part.load(to + i) * scale, to + i); });
        } else {
            total =
                slice.template fold<Sum>([&](std::size_t i, auto part) { return exp(part.load(from + i) - its_top); });
        }
        const auto log_total = log(total);

        // With smoothing every class counts a little: sum(w·log_softmax(x)).
        decltype(total) every(Lane<T>(0));
        if (smooth != 0) {
            const auto its_log_total = slice.spread(log_total);
            every = slice.template fold<Sum>([&](std::size_t i, auto part) {
                const auto log_probability = part.load(from + i) - its_top - its_log_total;
                return weights ? class_weight(slice, weights, i, part) * log_probability : log_probability;
            });
        }

        T tops[slice.size], log_totals[slice.size], everys[slice.size];
        slice.put(top, tops);
        slice.put(log_total, log_totals);
        slice.put(every, everys);
        each_sample(slice, target.labels + sample, [&](std::size_t k, std::int64_t label, std::size_t first) {
            const bool counts = label != target.ignore_index;
            const std::size_t c = counts ? static_cast<std::size_t>(label) : 0;
            const T weight = !counts ? T(0) : weights ? weights[c] : T(1);
            const T log_probability = counts ? from[first + c * inner] - tops[k] - log_totals[k] : T(0);
            const T smoothed = counts && smooth != 0 ? smooth * everys[k] : T(0);
            result.losses[sample + k] = -((1 - target.label_smoothing) * weight * log_probability + smoothed);
            if (result.weights) result.weights[sample + k] = weight;
        });
    });
}

template <class T>
XGRAD_FLATTEN void cross_entropy_backward_slices(const T* probabilities, const Slices& slices, std::size_t columns,
                                                 const CrossEntropyTarget<T>& target, T weight_sum, const T* scales,
                                                 bool one_scale, T* dx) {
    const std::size_t inner = slices.inner;
    const T* weights = target.class_weights;
    const T sharp = 1 - target.label_smoothing, smooth = target.label_smoothing / static_cast<T>(slices.count);
    each_slice<T, 0, true>(slices, columns, [&](std::size_t offset, std::size_t sample, auto slice) {
        const T* from = probabilities + offset;
        T* to = dx + offset;
        // Per sample: how much the probabilities count, and the scale, both 0 where the label is ignored; and what the
        // label's own class gets. (dx may be the probabilities; reading a number that a part of a lane has just been
        // written over takes long.)
        T factors[slice.size]{}, scale[slice.size]{}, own[slice.size];
        each_sample(slice, target.labels + sample, [&](std::size_t k, std::int64_t label, std::size_t first) {
            if (label == target.ignore_index) return;
            const T weight = weights ? weights[label] : T(1);
            scale[k] = one_scale ? *scales : scales[sample + k];
            factors[k] = scale[k] * (sharp * weight + smooth * weight_sum);
            own[k] = from[first + static_cast<std::size_t>(label) * inner] * factors[k] -
                     scale[k] * weight * (sharp + smooth);
        });
        const auto factor = slice.get(factors), smoothing = slice.get(scale) * Lane<T>(smooth);
        const auto changed = slice.in_place(dx == probabilities);
        if (smooth == 0)
            changed.each([&](std::size_t i, auto part) { part.store(part.load(from + i) * factor, to + i); });
        else
            changed.each([&](std::size_t i, auto part) {
                const auto every = weights ? smoothing * class_weight(slice, weights, i, part) : smoothing;
                part.store(fma(part.load(from + i), factor, -every), to + i);
            });
        each_sample(slice, target.labels + sample, [&](std::size_t k, std::int64_t label, std::size_t first) {
            if (label == target.ignore_index) return;
            to[first + static_cast<std::size_t>(label) * inner] = own[k];
        });
    });
}

template <class T> void softmax(const T* x, const Slices& slices, std::size_t columns, T* y, T* logsumexp) {
    on_packed_columns(columns_compete<T>(slices), {x}, slices, columns, y,
                      [&](const T* const* from, const Slices& s, std::size_t its_columns, T* to, std::size_t first) {
                          softmax_slices(from[0], s, its_columns, to, logsumexp ? logsumexp + first : nullptr);
                      });
}

template <class T> void log_softmax(const T* x, const Slices& slices, std::size_t columns, T* y) {
    on_packed_columns(columns_compete<T>(slices), {x}, slices, columns, y,
                      [](const T* const* from, const Slices& s, std::size_t its_columns, T* to, std::size_t) {
                          log_softmax_slices(from[0], s, its_columns, to);
                      });
}

template <class T> void softmax_backward(const T* y, const T* g, const Slices& slices, std::size_t columns, T* dx) {
    on_packed_columns(columns_compete<T>(slices), {y, g}, slices, columns, dx,
                      [](const T* const* from, const Slices& s, std::size_t its_columns, T* to, std::size_t) {
                          softmax_backward_slices(from[0], from[1], s, its_columns, to);
                      });
}

template <class T> void log_softmax_backward(const T* y, const T* g, const Slices& slices, std::size_t columns, T* dx) {
    on_packed_columns(columns_compete<T>(slices), {y, g}, slices, columns, dx,
                      [](const T* const* from, const Slices& s, std::size_t its_columns, T* to, std::size_t) {
                          log_softmax_backward_slices(from[0], from[1], s, its_columns, to);
                      });
}

template <class T>
void cross_entropy(const T* x, const Slices& slices, std::size_t columns, const CrossEntropyTarget<T>& target,
                   const CrossEntropyResult<T>& result) {
    on_packed_columns(columns_compete<T>(slices), {x}, slices, columns, result.probabilities,
                      [&](const T* const* from, const Slices& s, std::size_t its_columns, T* to, std::size_t first) {
                          cross_entropy_slices(from[0], s, its_columns, target.from(first), result.from(first, to));
                      });
}

template <class T>
void cross_entropy_backward(const T* probabilities, const Slices& slices, std::size_t columns,
                            const CrossEntropyTarget<T>& target, T weight_sum, const T* scales, bool one_scale, T* dx) {
    on_packed_columns(columns_compete<T>(slices), {probabilities}, slices, columns, dx,
                      [&](const T* const* from, const Slices& s, std::size_t its_columns, T* to, std::size_t first) {
                          cross_entropy_backward_slices(from[0], s, its_columns, target.from(first), weight_sum,
                                                        one_scale ? scales : scales + first, one_scale, to);
                      });
}

}  // namespace

template <class T> const SoftmaxKernels<T>& softmax_kernels() {
    static constexpr SoftmaxKernels<T> table{
        .softmax = softmax<T>,
        .log_softmax = log_softmax<T>,
        .softmax_backward = softmax_backward<T>,
        .log_softmax_backward = log_softmax_backward<T>,
        .cross_entropy = cross_entropy<T>,
        .cross_entropy_backward = cross_entropy_backward<T>,
    };
    return table;
}

template const SoftmaxKernels<float>& softmax_kernels<float>();
template const SoftmaxKernels<double>& softmax_kernels<double>();

}  // namespace xgrad::kernels::XGRAD_LEVEL
