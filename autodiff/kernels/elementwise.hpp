// Elementwise kernels: any formula over operands of any shapes that broadcast, in one pass over memory.
//
// A kernel runs its formula on lanes for the values and on duals of lanes for the gradients. The library's formulas
// have theirs compiled for every instruction-set level; a user's formula is compiled here, with the user's flags. What
// is compiled for each formula is as little as can be: the loops over a stretch.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <type_traits>
#include <utility>

#include <xgrad/autodiff/dual.hpp>
#include <xgrad/autodiff/formulas.hpp>
#include <xgrad/autodiff/kernels/broadcast.hpp>
#include <xgrad/autodiff/kernels/level.hpp>
#include <xgrad/autodiff/lane.hpp>

namespace xgrad::kernels {

/// Whether what has the loop's full shape can be summed up to an operand's while it is computed: where that repeats
/// along neighbouring dimensions, and what is within them is not long.
bool sums_up(const Broadcast& loop, std::size_t operand);

/// What gives the values of a formula of N operands, for T float or double.
template <class T, std::size_t N> struct ElementwiseValues {
    static_assert(N >= 1 && N <= max_operands, "an elementwise formula has 1 to 8 operands");

    /// out = formula(inputs…), of the loop's full shape. It may be one of the inputs that have this shape.
    void forward(const void* formula, const Broadcast& loop, T* out, const T* const* inputs) const;

    /// The same, summed up as it is computed: to the one operand of `target`, a loop over the same shape, which
    /// sums_up must allow.
    void forward_summed(const void* formula, const Broadcast& loop, const Broadcast& target, T* out,
                        const T* const* inputs) const;

    void (*stretch_values)(const void* formula, const Stretch<T, N>& stretch, T* out);  // forward for one stretch
};

/// The kernel of a formula: its values and its gradients.
template <class T, std::size_t N> struct ElementwiseKernel : ElementwiseValues<T, N> {
    /// gradients[i] = cotangent · ∂formula/∂inputs[i] for every i whose gradients[i] is not null. Those that are
    /// `summed`, which sums_up must allow, have the shape of their input; the others have the loop's full shape, and
    /// each of them may be the cotangent itself or an input that has this shape.
    void backward(const void* formula, const Broadcast& loop, const T* cotangent, const T* const* inputs,
                  T* const* gradients, const std::array<bool, N>& summed = {}) const;

    // The same for one stretch, whose last operand is the cotangent. At least one gradient is not null.
    void (*stretch_gradients)(const void* formula, const Stretch<T, N + 1>& stretch, T* const* gradients);
};

/// How many operands a formula has, at most four.
template <class Formula> consteval std::size_t operands_of() {
    using L = Lane<float>;
    if (std::invocable<Formula, L>) return 1;
    if (std::invocable<Formula, L, L>) return 2;
    return std::invocable<Formula, L, L, L> ? 3 : 4;
}

XGRAD_AT_EVERY_LEVEL(template <class Formula, class T>
                     const ElementwiseKernel<T, operands_of<Formula>()>& formula_kernel();)

namespace XGRAD_LEVEL {

/// The same number, hidden from the optimiser, which would otherwise make one loop for a stride of 0 and another for a
/// stride of 1, neither of them as good.
inline std::size_t unguessed(std::size_t number) {
    asm("" : "+r"(number));
    return number;
}

/// A lane in memory for each of N operands.
template <class T, std::size_t N> using Lanes = T[N][Lane<T>::width];

/// The operands of a row, a lane at a time. One that repeats a single number is read again and again from a lane
/// full of it, so that one loop serves every combination; and so does it for a rest that fills no lane. Those lanes are
/// the caller's, apart from the pointers, which stay in registers then.
template <class T, std::size_t N> class Operands {
    using L = Lane<T>;

public:
    Operands(const Stretch<T, N>& stretch, std::size_t row, Lanes<T, N>& lanes) : lanes_(lanes) {
        for (std::size_t k = 0; k < N; ++k) {
            at_[k] = stretch.at[k] + row * stretch.row_stride[k];
            step_[k] = unguessed(stretch.stride[k] * L::width);
            if (step_[k] == 0) {
                L(*at_[k]).store(lanes_[k]);
                at_[k] = lanes_[k];
            }
        }
    }

    L operator[](std::size_t k) const { return L::load(at_[k]); }
    void advance() {
        for (std::size_t k = 0; k < N; ++k) at_[k] += step_[k];
    }
    /// From here on, the last `count` numbers of each operand; after them stand ones, or the number that repeats.
    void begin_rest(std::size_t count) {
        for (std::size_t k = 0; k < N; ++k)
            if (step_[k] != 0) {
                L::load_partial(at_[k], count).store(lanes_[k]);
                at_[k] = lanes_[k];
            }
    }

private:
    const T* at_[N];
    std::size_t step_[N];
    Lanes<T, N>& lanes_;
};

/// Calls lane() for every lane that `length` numbers fill, then begin_rest(count) and lane() once more when some are
/// left. The formula in lane() is compiled once.
template <std::size_t Width, class Each, class BeginRest>
void each_lane(std::size_t length, const Each& lane, const BeginRest& begin_rest) {
    std::size_t lanes = length / Width, rest = length % Width;
    while (true) {
        for (lanes = unguessed(lanes); lanes > 0; --lanes) lane();
        if (rest == 0) return;
        begin_rest(rest);
        rest = 0;
        lanes = 1;
    }
}

/// How one formula runs, compiled for the level of the flags in use.
template <class Formula, class T, std::size_t N> class Elementwise {
    using L = Lane<T>;

public:
    // The loops hold a copy of the formula, whose members stay in registers then, and have everything inlined: a lane
    // that passes through memory on its way to a function costs more than the function.

    XGRAD_FLATTEN static void values(const void* formula, const Stretch<T, N>& stretch, T* out) {
        const Formula f = *static_cast<const Formula*>(formula);
        each_lane_of_rows(stretch, out, [&](const auto& x) -> L { return with_each([&](auto k) { return x[k]; }, f); });
    }

    static void gradients(const void* formula, const Stretch<T, N + 1>& stretch, T* const* gradients) {
        const Formula& f = *static_cast<const Formula*>(formula);
        std::size_t needed = 0, last = 0;
        for (std::size_t k = 0; k < N; ++k)
            if (gradients[k]) ++needed, last = k;
        if constexpr (N > 1)
            if (needed > 1) return all_gradients(f, stretch, gradients);
        for_each([&](auto k) {
            if (k == last) one_gradient<k>(f, stretch, gradients[k]);
        });
    }

private:
    template <std::size_t Which>
    XGRAD_FLATTEN static void one_gradient(const Formula& formula, const Stretch<T, N + 1>& stretch, T* gradient) {
        using D = Dual<L>;
        const Formula f = formula;
        // The others are constants: the compiler leaves out what they have no part in.
        const auto dual = [](const L& x, auto k) { return k == Which ? D::variable(x) : D(x); };
        each_lane_of_rows(stretch, gradient, [&](const auto& x) -> L {
            const D y = with_each([&](auto k) { return dual(x[k], k); }, f);
            return x[N] * y.tangent[0];
        });
    }

    XGRAD_FLATTEN static void all_gradients(const Formula& formula, const Stretch<T, N + 1>& stretch,
                                            T* const* gradients) {
        using D = Dual<L, N>;
        const Formula f = formula;
        for (std::size_t row = 0; row < stretch.rows; ++row) {
            Lanes<T, N + 1> lanes;
            Operands<T, N + 1> x(stretch, row, lanes);
            T last[N][L::width];
            T* to[N];
            for (std::size_t k = 0; k < N; ++k) to[k] = gradients[k] ? gradients[k] + row * stretch.length : nullptr;
            each_lane<L::width>(
                stretch.length,
                [&] {
                    const D y = with_each([&](auto k) { return D::variable(x[k], k); }, f);
                    const L g = x[N];
                    for_each([&](auto k) {
                        if (!gradients[k]) return;
                        (g * y.tangent[k]).store(to[k]);
                        to[k] += L::width;
                    });
                    x.advance();
                },
                [&](std::size_t rest) {
                    x.begin_rest(rest);
                    for (std::size_t k = 0; k < N; ++k) to[k] = last[k];
                });
            for (std::size_t k = 0; k < N; ++k)
                if (gradients[k]) store_rest(last[k], stretch.length, gradients[k] + row * stretch.length);
        }
    }

    // Stores lane(operands) for every lane of a stretch.
    template <std::size_t M, class F>
    static void each_lane_of_rows(const Stretch<T, M>& stretch, T* out, const F& lane) {
        for (std::size_t row = 0; row < stretch.rows; ++row, out += stretch.length) {
            Lanes<T, M> lanes;
            Operands<T, M> x(stretch, row, lanes);
            T last[L::width];
            T* to = out;
            each_lane<L::width>(
                stretch.length,
                [&] {
                    const L y = lane(x);
                    y.store(to);
                    x.advance();
                    to += L::width;
                },
                [&](std::size_t rest) {
                    x.begin_rest(rest);
                    to = last;
                });
            store_rest(last, stretch.length, out);
        }
    }

    // What fills no lane, from a lane of its own to where it belongs.
    static void store_rest(const T* last, std::size_t length, T* to) {
        if (const std::size_t rest = length % L::width) L::load(last).store_partial(to + length - rest, rest);
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

/// How a formula runs that changes operands in place: those of which Changed says so.
template <class Formula, class T, bool... Changed> class ElementwiseUpdate {
    using L = Lane<T>;
    static constexpr std::size_t N = sizeof...(Changed);

public:
    XGRAD_FLATTEN static void run(const Formula& formula, const std::array<T*, N>& operands, std::size_t begin,
                                  std::size_t count) {
        const Formula f = formula;
        T last[N][L::width], *at[N];
        for (std::size_t k = 0; k < N; ++k) at[k] = operands[k] + begin;
        each_lane<L::width>(
            count,
            [&] {
                update(f, at, std::make_index_sequence<N>());
                for (std::size_t k = 0; k < N; ++k) at[k] += L::width;
            },
            [&](std::size_t rest) {
                for (std::size_t k = 0; k < N; ++k) {
                    L::load_partial(at[k], rest).store(last[k]);
                    at[k] = last[k];
                }
            });
        const std::size_t rest = count % L::width;
        if (rest == 0) return;
        constexpr bool changed[]{Changed...};
        for (std::size_t k = 0; k < N; ++k)
            if (changed[k]) L::load(last[k]).store_partial(operands[k] + begin + count - rest, rest);
    }

private:
    template <std::size_t... K> static void update(const Formula& f, T* const* at, std::index_sequence<K...>) {
        L lanes[]{L::load(at[K])...};
        f(argument<Changed>(lanes[K])...);
        ((Changed ? lanes[K].store(at[K]) : void()), ...);
    }
    template <bool IsChanged> static std::conditional_t<IsChanged, L&, const L&> argument(L& lane) { return lane; }
};

template <class Formula, class T, std::size_t N>
inline constexpr ElementwiseKernel<T, N> elementwise_kernel{{&Elementwise<Formula, T, N>::values},
                                                            &Elementwise<Formula, T, N>::gradients};

}  // namespace XGRAD_LEVEL

/// The kernel of a formula of N operands. A formula of the library has one for each instruction-set level.
template <class Formula, class T, std::size_t N> const ElementwiseKernel<T, N>& elementwise_kernel() {
    if constexpr (formulas::Formulas::position<Formula> < formulas::Formulas::size) {
        static_assert(N == operands_of<Formula>());
        XGRAD_SELECT(formula_kernel<Formula, T>())
    } else {
        return XGRAD_LEVEL::elementwise_kernel<Formula, T, N>;
    }
}

}  // namespace xgrad::kernels
