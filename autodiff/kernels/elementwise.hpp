// Elementwise kernels: any formula over operands of any shapes that broadcast, in one pass over memory.
//
// A kernel runs its formula on lanes for the values and on duals of lanes for the gradients. The library's formulas
// have theirs compiled for every instruction-set level; a user's formula is compiled here, with the user's flags.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include <xgrad/autodiff/dual.hpp>
#include <xgrad/autodiff/formulas.hpp>
#include <xgrad/autodiff/kernels/level.hpp>
#include <xgrad/autodiff/kernels/pieces.hpp>
#include <xgrad/autodiff/lane.hpp>

// Everything that the function calls is to be inlined. Not under a sanitizer, whose checks would make it so large that
// compiling takes minutes.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define XGRAD_FLATTEN
#else
#define XGRAD_FLATTEN [[gnu::flatten]]
#endif

namespace xgrad::kernels {

/// The most dimensions that an array has, and the most operands of one formula.
inline constexpr std::size_t max_rank = 16, max_operands = 8;

/// A shape that needs no heap.
class Extents {
public:
    Extents() = default;
    explicit Extents(std::span<const std::size_t> shape);

    std::size_t rank() const { return rank_; }
    std::size_t& operator[](std::size_t axis) { return extents_[axis]; }
    operator std::span<const std::size_t>() const { return {extents_, rank_}; }

private:
    std::size_t rank_ = 0;
    std::size_t extents_[max_rank];
};

/// The shape that operands of these shapes broadcast to by NumPy's rule: aligned at the last axis, extents of 1 repeat.
/// Throws Error, naming the operation and the two shapes, where they do not.
Extents broadcast_shapes(std::string_view operation, std::initializer_list<std::span<const std::size_t>> shapes);

/// How a pass over a contiguous result walks through contiguous row-major operands that broadcast to its shape, with as
/// few dimensions as say the same: operands of the result's own shape, or of one element, leave a single one.
struct Broadcast {
    /// Operands that all have the result's shape, of which only the size matters then.
    Broadcast(std::size_t elements, std::size_t operands) : size(elements), rank(1) {
        extent[0] = elements;
        std::fill_n(stride[0], operands, std::size_t{1});
    }
    /// The operands' shapes must broadcast to that of the result.
    Broadcast(std::span<const std::size_t> result, std::span<const std::span<const std::size_t>> operands);
    Broadcast(std::span<const std::size_t> result, std::initializer_list<std::span<const std::size_t>> operands)
        : Broadcast(result, std::span(operands.begin(), operands.size())) {}

    std::size_t size;                            // of the result
    std::size_t rank;                            // at least 1; dimension 0 is the innermost
    std::size_t extent[max_rank];                // of each dimension
    std::size_t stride[max_rank][max_operands];  // of each operand in each dimension; in dimension 0 it is 0 or 1
};

/// The loops of one formula, for T float or double.
template <class T> struct ElementwiseKernel {
    /// out = formula(inputs…), of the loop's full shape. It may be one of the inputs that have this shape.
    void (*forward)(const void* formula, const Broadcast& loop, T* out, const T* const* inputs);

    /// gradients[i] = cotangent · ∂formula/∂inputs[i] for every i whose gradients[i] is not null, all of the loop's
    /// full shape: summing to the shape of an input that was broadcast is the caller's. Each may be the cotangent
    /// itself or an input that has the full shape.
    void (*backward)(const void* formula, const Broadcast& loop, const T* cotangent, const T* const* inputs,
                     T* const* gradients);
};

XGRAD_AT_EVERY_LEVEL(template <class Formula, class T> const ElementwiseKernel<T>& formula_kernel();)

namespace XGRAD_LEVEL {

// The part [begin, end) of a result, cut into stretches along the innermost dimension: calls
// stretch(begin of the stretch, its length, offsets of the operands there).
template <std::size_t N, class F>
void each_stretch(const Broadcast& loop, std::size_t begin, std::size_t end, F stretch) {
    if (begin == end) return;
    std::size_t index[max_rank], offset[N] = {};
    for (std::size_t d = 0, rest = begin; d < loop.rank; ++d) {
        index[d] = rest % loop.extent[d];
        rest /= loop.extent[d];
        for (std::size_t k = 0; k < N; ++k) offset[k] += index[d] * loop.stride[d][k];
    }
    while (begin < end) {
        const std::size_t length = std::min(loop.extent[0] - index[0], end - begin);
        stretch(begin, length, offset);
        begin += length;
        index[0] += length;
        for (std::size_t k = 0; k < N; ++k) offset[k] += length * loop.stride[0][k];
#pragma GCC unroll 1
        for (std::size_t d = 0; index[d] == loop.extent[d] && d + 1 < loop.rank; ++d) {
            index[d] = 0;
            ++index[d + 1];
            for (std::size_t k = 0; k < N; ++k)
                offset[k] = offset[k] + loop.stride[d + 1][k] - loop.extent[d] * loop.stride[d][k];
        }
    }
}

// The operands of one stretch. One that repeats a single number is read again and again from a lane full of it, so that
// one loop serves every combination.
template <class T, std::size_t N> struct Operands {
    const T* at[N];
    std::size_t step[N];
    T repeated[N][Lane<T>::width];

    Operands(const Broadcast& loop, const T* const* inputs, const std::size_t (&offset)[N]) {
        for (std::size_t k = 0; k < N; ++k) {
            at[k] = inputs[k] + offset[k];
            step[k] = loop.stride[0][k] * Lane<T>::width;
            if (step[k] == 0) {
                Lane<T>(*at[k]).store(repeated[k]);
                at[k] = repeated[k];
            }
        }
    }
    void advance() {
        for (std::size_t k = 0; k < N; ++k) at[k] += step[k];
    }
};

/// How one formula runs, compiled for the level of the flags in use.
template <class Formula, class T, std::size_t N> class Elementwise {
    static_assert(N >= 1 && N <= max_operands, "an elementwise formula has 1 to 8 operands");
    using L = Lane<T>;

public:
    [[gnu::noinline]] static void forward(const void* formula, const Broadcast& loop, T* out, const T* const* inputs) {
        const Formula& f = *static_cast<const Formula*>(formula);
        in_pieces(loop, [&](std::size_t begin, std::size_t length, const std::size_t(&offset)[N]) {
            values(f, length, out + begin, Operands<T, N>(loop, inputs, offset));
        });
    }

    [[gnu::noinline]] static void backward(const void* formula, const Broadcast& loop, const T* cotangent,
                                           const T* const* inputs, T* const* gradients) {
        const Formula& f = *static_cast<const Formula*>(formula);
        std::size_t needed = 0, last = 0;
        for (std::size_t k = 0; k < N; ++k)
            if (gradients[k]) ++needed, last = k;
        if (needed == 0) return;
        in_pieces(loop, [&](std::size_t begin, std::size_t length, const std::size_t(&offset)[N]) {
            const Operands<T, N> operands(loop, inputs, offset);
            if constexpr (N > 1)
                if (needed > 1) return all_gradients(f, length, cotangent + begin, operands, gradients, begin);
            for_each([&](auto k) {
                if (k == last) one_gradient<k>(f, length, cotangent + begin, operands, gradients[k] + begin);
            });
        });
    }

private:
    // Long results are shared among threads. (Not through kernels::in_pieces, which is no function of one level.)
    template <class F> static void in_pieces(const Broadcast& loop, F stretch) {
        if (loop.size < worth_sharing) return each_stretch<N>(loop, 0, loop.size, stretch);
        const auto piece = [&](std::size_t i) {
            each_stretch<N>(loop, i * piece_size, std::min(loop.size, (i + 1) * piece_size), stretch);
        };
        parallel((loop.size + piece_size - 1) / piece_size, piece, loop.size < brief_size);
    }

    // The loops proper. They hold a copy of the formula, whose members stay in registers then, and have everything
    // inlined: a lane that passes through memory on its way to a function costs more than the function.

    XGRAD_FLATTEN static void values(const Formula& formula, std::size_t length, T* out, Operands<T, N> operands) {
        const Formula f = formula;
        std::size_t i = 0;
        for (; i + L::width <= length; i += L::width) {
            const L y = with_each([&](auto k) { return L::load(operands.at[k]); }, f);
            y.store(out + i);
            operands.advance();
        }
        if (const std::size_t rest = length - i) {
            const L y = with_each([&](auto k) { return L::load_partial(operands.at[k], rest); }, f);
            y.store_partial(out + i, rest);
        }
    }

    template <std::size_t Which>
    XGRAD_FLATTEN static void one_gradient(const Formula& formula, std::size_t length, const T* cotangent,
                                           Operands<T, N> operands, T* gradient) {
        using D = Dual<L>;
        const Formula f = formula;
        // The others are constants: the compiler leaves out what they have no part in.
        const auto dual = [](const L& x, auto k) { return k == Which ? D::variable(x) : D(x); };
        std::size_t i = 0;
        for (; i + L::width <= length; i += L::width) {
            const D y = with_each([&](auto k) { return dual(L::load(operands.at[k]), k); }, f);
            (L::load(cotangent + i) * y.tangent[0]).store(gradient + i);
            operands.advance();
        }
        if (const std::size_t rest = length - i) {
            const D y = with_each([&](auto k) { return dual(L::load_partial(operands.at[k], rest), k); }, f);
            (L::load_partial(cotangent + i, rest) * y.tangent[0]).store_partial(gradient + i, rest);
        }
    }

    XGRAD_FLATTEN static void all_gradients(const Formula& formula, std::size_t length, const T* cotangent,
                                               Operands<T, N> operands, T* const* gradients, std::size_t begin) {
        using D = Dual<L, N>;
        const Formula f = formula;
        std::size_t i = 0;
        for (; i + L::width <= length; i += L::width) {
            const D y = with_each([&](auto k) { return D::variable(L::load(operands.at[k]), k); }, f);
            const L g = L::load(cotangent + i);
            for_each([&](auto k) {
                if (gradients[k]) (g * y.tangent[k]).store(gradients[k] + begin + i);
            });
            operands.advance();
        }
        if (const std::size_t rest = length - i) {
            const D y = with_each([&](auto k) { return D::variable(L::load_partial(operands.at[k], rest), k); }, f);
            const L g = L::load_partial(cotangent + i, rest);
            for_each([&](auto k) {
                if (gradients[k]) (g * y.tangent[k]).store_partial(gradients[k] + begin + i, rest);
            });
        }
    }

    // call(0), …, call(N - 1), each number a constant.
    template <class F> static void for_each(F call) {
        [&]<std::size_t... K>(std::index_sequence<K...>) { (call(std::integral_constant<std::size_t, K>()), ...); }
        (std::make_index_sequence<N>());
    }

    // f(load(0), …, load(N - 1)), where load is given its number as a constant.
    template <class Load> static auto with_each(Load load, const Formula& f) {
        return [&]<std::size_t... K>(std::index_sequence<K...>) {
            return f(load(std::integral_constant<std::size_t, K>())...);
        }
        (std::make_index_sequence<N>());
    }
};

template <class Formula, class T, std::size_t N>
inline constexpr ElementwiseKernel<T> elementwise_kernel{&Elementwise<Formula, T, N>::forward,
                                                         &Elementwise<Formula, T, N>::backward};

}  // namespace XGRAD_LEVEL

/// The kernel of a formula of N operands. A formula of the library has one for each instruction-set level.
template <class Formula, class T, std::size_t N> const ElementwiseKernel<T>& elementwise_kernel(Level at) {
    static_assert(formulas::Formulas::position<Formula> < formulas::Formulas::size);
    XGRAD_SELECT(at, formula_kernel<Formula, T>())
}
template <class Formula, class T, std::size_t N> const ElementwiseKernel<T>& elementwise_kernel() {
    if constexpr (formulas::Formulas::position<Formula> < formulas::Formulas::size)
        return elementwise_kernel<Formula, T, N>(level());
    else
        return XGRAD_LEVEL::elementwise_kernel<Formula, T, N>;
}

}  // namespace xgrad::kernels
