#include <array>
#include <tuple>

#include <xgrad/autodiff/kernels/pieces.hpp>
#include <xgrad/autodiff/kernels/slices.hpp>
#include <xgrad/autodiff/kernels/softmax.hpp>
#include <xgrad/autodiff/memory.hpp>

namespace xgrad::kernels {
namespace {

// Whether rows are transposed, and transposed back, as measured: exponentials make up for more than a sum does, the
// more so in wide lanes.
template <class T> bool are_short_for_softmax(const Slices& slices) {
    const bool are_wide = level() != Level::portable && (level() != Level::avx2 || sizeof(T) == 4);
    return are_short_rows(slices, are_wide ? 22 : 14, 5);
}

// Runs kernel(inputs…, slices, columns, y), with short rows and columns transposed to many columns, and few long
// columns to rows. y may be the last input.
template <class T, std::size_t N, class Kernel>
void run(Kernel kernel, const std::array<const T*, N>& inputs, const Slices& slices, T* y) {
    const bool are_short = N == 1 ? are_short_for_softmax<T>(slices) : are_short_rows(slices, 6);
    if (are_short || are_short_columns(slices))
        return over_blocks<T, N>(inputs, slices, slices.count * slices.inner, y, [&](auto& transposed) {
            std::apply(
                [&](const auto&... from) {
                    kernel(from..., transposed.slices, transposed.slices.inner, transposed.results);
                },
                transposed.inputs);
        });
    if (are_few_columns(slices)) {
        std::array<memory::Scratch<T>, N> transposed;
        std::array<const T*, N> rows;
        for (std::size_t i = 0; i < N; ++i) {
            transposed[i] = transposed_to_rows(inputs[i], slices);
            rows[i] = transposed[i].data();
        }
        run(kernel, rows, as_rows(slices), transposed[N - 1].data());
        return transpose_each(transposed[N - 1].data(), slices.outer, slices.inner, slices.count, y);
    }
    slices_in_pieces(slices, [&](std::size_t i, std::size_t, const Slices& piece, std::size_t columns) {
        std::apply([&](auto... from) { kernel((from + i)..., piece, columns, y + i); }, inputs);
    });
}

}  // namespace

template <class T> void softmax(const T* x, const Slices& slices, T* y) {
    const auto kernel = [softmax = softmax_kernels<T>().softmax](const T* from, const Slices& s, std::size_t columns,
                                                                 T* to) { softmax(from, s, columns, to, nullptr); };
    run<T, 1>(kernel, {x}, slices, y);
}

template <class T> void softmax_and_logsumexp(const T* x, const Slices& slices, T* y, T* sums) {
    const auto kernel = softmax_kernels<T>().softmax;
    if (are_short_for_softmax<T>(slices))
        return over_blocks<T, 1>({x}, slices, slices.count, y, [&](auto& transposed) {
            kernel(transposed.inputs[0], transposed.slices, transposed.slices.inner, transposed.results,
                   sums + transposed.first);
        });
    if (are_short_columns(slices) || are_few_columns(slices)) {  // which are transposed in other ways for either
        logsumexp(x, slices, sums);
        return softmax(x, slices, y);
    }
    slices_in_pieces(slices, [&](std::size_t i, std::size_t first, const Slices& piece, std::size_t columns) {
        kernel(x + i, piece, columns, y + i, sums + first);
    });
}

template <class T> void log_softmax(const T* x, const Slices& slices, T* y) {
    run<T, 1>(softmax_kernels<T>().log_softmax, {x}, slices, y);
}

template <class T> void softmax_backward(const T* y, const T* g, const Slices& slices, T* dx) {
    run<T, 2>(softmax_kernels<T>().softmax_backward, {y, g}, slices, dx);
}

template <class T> void log_softmax_backward(const T* y, const T* g, const Slices& slices, T* dx) {
    run<T, 2>(softmax_kernels<T>().log_softmax_backward, {y, g}, slices, dx);
}

std::size_t find_invalid_label(const std::int64_t* labels, std::size_t samples, std::size_t classes,
                               std::int64_t ignore_index) {
    const auto end = static_cast<std::int64_t>(classes);
    for (std::size_t i = 0; i < samples; ++i)
        if ((labels[i] < 0 || labels[i] >= end) && labels[i] != ignore_index) return i;
    return samples;
}

template <class T>
void softmax_cross_entropy(const T* x, const Slices& slices, const CrossEntropyTarget<T>& target,
                           const CrossEntropyResult<T>& result) {
    const auto kernel = softmax_kernels<T>().cross_entropy;
    if (are_short_for_softmax<T>(slices))
        return over_blocks<T, 1>({x}, slices, slices.count, result.probabilities, [&](auto& transposed) {
            kernel(transposed.inputs[0], transposed.slices, transposed.slices.inner, target.from(transposed.first),
                   result.from(transposed.first, result.probabilities ? transposed.results : nullptr));
        });
    slices_in_pieces(slices, [&](std::size_t i, std::size_t sample, const Slices& piece, std::size_t columns) {
        kernel(x + i, piece, columns, target.from(sample),
               result.from(sample, result.probabilities ? result.probabilities + i : nullptr));
    });
}

template <class T>
void softmax_cross_entropy_backward(const T* probabilities, const Slices& slices, const CrossEntropyTarget<T>& target,
                                    const T* scales, bool one_scale, T* dx) {
    const auto kernel = softmax_kernels<T>().cross_entropy_backward;
    T weight_sum = static_cast<T>(slices.count);
    if (target.class_weights) sum(target.class_weights, {1, slices.count, 1}, &weight_sum);
    slices_in_pieces(slices, [&](std::size_t i, std::size_t sample, const Slices& piece, std::size_t columns) {
        kernel(probabilities + i, piece, columns, target.from(sample), weight_sum, one_scale ? scales : scales + sample,
               one_scale, dx + i);
    });
}

#define XGRAD_SOFTMAX(T)                                                                                          \
    template void softmax(const T*, const Slices&, T*);                                                           \
    template void softmax_and_logsumexp(const T*, const Slices&, T*, T*);                                         \
    template void log_softmax(const T*, const Slices&, T*);                                                       \
    template void softmax_backward(const T*, const T*, const Slices&, T*);                                        \
    template void log_softmax_backward(const T*, const T*, const Slices&, T*);                                    \
    template void softmax_cross_entropy(const T*, const Slices&, const CrossEntropyTarget<T>&,                    \
                                        const CrossEntropyResult<T>&);                                            \
    template void softmax_cross_entropy_backward(const T*, const Slices&, const CrossEntropyTarget<T>&, const T*, \
                                                 bool, T*);
XGRAD_SOFTMAX(float)
XGRAD_SOFTMAX(double)

}  // namespace xgrad::kernels
