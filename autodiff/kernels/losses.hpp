// Losses of one element each, and the kernels that sum them up, or differentiate them, in one pass over memory.
#pragma once

#include <cstddef>

#include <xgrad/autodiff/dual.hpp>
#include <xgrad/autodiff/formulas.hpp>
#include <xgrad/autodiff/kernels/broadcast.hpp>
#include <xgrad/autodiff/kernels/elementwise.hpp>
#include <xgrad/autodiff/kernels/level.hpp>

namespace xgrad::formulas {

// The operands are the prediction x, the target t, and for one weights. Branches are such that second derivatives are
// right everywhere: ½e² rather than ½|e|².

/// (x − t)²
struct SquaredError {
    template <class X> X operator()(const X& x, const X& t) const { return square(x - t); }
};

/// |x − t|
struct AbsoluteError {
    template <class X> X operator()(const X& x, const X& t) const { return abs(x - t); }
};

/// scale·½e² where |e| < δ, otherwise scale·δ(|e| − ½δ), with e = x − t
struct Huber {
    double delta, scale;
    template <class X> X operator()(const X& x, const X& t) const {
        const X e = x - t, d = abs(e);
        return where(d < delta, square(e) * (0.5 * scale), (d - 0.5 * delta) * (delta * scale));
    }
};

/// w·((1 − t)·log(1 + eˣ) + p·t·log(1 + e⁻ˣ)), where both logarithms are log(1 + e^−|x|) and what exceeds it
struct BinaryCrossEntropy {
    template <class X> X operator()(const X& x, const X& t, const X& w, const X& p) const {
        const auto positive = x > 0;
        const X common = log1p(exp(where(positive, -x, x)));
        return w * ((1 - t) * (common + where(positive, x, X(0))) + p * t * (common + where(positive, X(0), -x)));
    }
};

/// t·(log t − x), where 0·log 0 = 0
struct KullbackLeibler {
    template <class X> X operator()(const X& x, const X& t) const {
        const auto zero = t == 0;
        return where(zero, X(0), t * log(where(zero, X(1), t))) - t * x;
    }
};

/// eᵗ·(t − x)
struct KullbackLeiblerLog {
    template <class X> X operator()(const X& x, const X& t) const { return exp(t) * (t - x); }
};

using Losses = List<SquaredError, AbsoluteError, Huber, BinaryCrossEntropy, KullbackLeibler, KullbackLeiblerLog>;

/// g·∂F/∂x, or ∂t when Operand is 1: a formula of F's operands and g.
template <class F, std::size_t Operand> struct LossDerivative {
    F loss;

    template <class X> X operator()(const X& x, const X& t, const X& g) const {
        return g * loss(operand<0>(x), operand<1>(t)).tangent[0];
    }
    template <class X> X operator()(const X& x, const X& t, const X& w, const X& p, const X& g) const {
        return g * loss(operand<0>(x), operand<1>(t), Dual<X>(w), Dual<X>(p)).tangent[0];
    }

private:
    template <std::size_t I, class X> static Dual<X> operand(const X& x) {
        return I == Operand ? Dual<X>::variable(x) : Dual<X>(x);
    }
};

}  // namespace xgrad::formulas

namespace xgrad::kernels {

/// As many elements make a block of a sum.
inline constexpr std::size_t loss_block = 2048;

/// The kernel of a loss F of N operands (prediction, target, and perhaps two weights), in the order of the formula's.
template <class T, std::size_t N> struct LossKernel {
    /// sums[i] = Σ F(inputs…) over the i-th block, for blocks in [first, last)
    void block_sums(const void* loss, const Pass<T, N>& pass, std::size_t first, std::size_t last, T* sums) const;

    ElementwiseValues<T, N> values;              // of F
    ElementwiseValues<T, N + 1> derivatives[2];  // of LossDerivative<F, 0 or 1>, whose last operand is g

    // What block_sums is made of: adds the losses of a stretch to four lanes of `width` numbers.
    static constexpr std::size_t widest = 64 / sizeof(T);
    std::size_t width;
    void (*add)(const void* loss, const Stretch<T, N>& stretch, T* totals);
};

XGRAD_AT_EVERY_LEVEL(template <class Loss, class T> const LossKernel<T, operands_of<Loss>()>& loss_kernel();)

/// The kernel of one of formulas::Losses.
template <class Loss, class T> const LossKernel<T, operands_of<Loss>()>& loss_kernel() {
    XGRAD_SELECT(loss_kernel<Loss, T>())
}

}  // namespace xgrad::kernels
