#include <cmath>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include <xgrad/autodiff/kernels/reduce.hpp>
#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/tape.hpp>
#include <xgrad/optim/clip.hpp>

namespace xgrad::optim {
namespace {

void check_bound(const char* function, double bound) {
    if (!(bound > 0)) throw Error(fmt::format("{}: the bound is {}; expected a number above 0", function, bound));
}

// The sum of squares, which may overflow where the numbers themselves are finite; in more precision it does not.
template <class T> long double squared_norm(const Array<T>& g) {
    const T sum = kernels::squared_norm(g.data(), g.size());
    if (std::isfinite(sum) || !kernels::all_finite(g.data(), g.size())) return sum;
    return std::accumulate(g.begin(), g.end(), 0.0L, [](long double total, long double x) { return total + x * x; });
}

// Replaces a gradient by what an operation makes of it, which writes over it unless somebody else sees it.
template <class T, class Operation> void change_gradient(const Variable<T>& parameter, Operation operation) {
    if (!parameter.grad().defined()) return;
    const NoGrad no_grad;
    Variable<T>& gradient = parameter.node()->gradient;
    gradient = operation(std::move(gradient));
}

}  // namespace

template <class T> double clip_grad_norm(const std::vector<Variable<T>>& parameters, double max_norm) {
    check_bound("clip_grad_norm", max_norm);
    long double sum = 0;
    for (const Variable<T>& parameter : parameters)
        if (const Variable<T>& gradient = parameter.grad(); gradient.defined())
            sum += squared_norm(gradient.value());
    const auto norm = static_cast<double>(std::sqrt(sum));
    const double factor = max_norm / (norm + 1e-6);
    if (!std::isfinite(norm) || factor >= 1) return norm;
    for (const Variable<T>& parameter : parameters)
        change_gradient(parameter, [&](Variable<T>&& g) { return std::move(g) * factor; });
    return norm;
}

template <class T> void clip_grad_value(const std::vector<Variable<T>>& parameters, double max_value) {
    check_bound("clip_grad_value", max_value);
    const T bound = static_cast<T>(max_value);
    for (const Variable<T>& parameter : parameters)
        change_gradient(parameter, [&](Variable<T>&& g) { return clip(std::move(g), -bound, bound); });
}

#define XGRAD_INSTANTIATE(T) \
    template double clip_grad_norm(const std::vector<Variable<T>>&, double); \
    template void clip_grad_value(const std::vector<Variable<T>>&, double);
XGRAD_INSTANTIATE(float)
XGRAD_INSTANTIATE(double)

}  // namespace xgrad::optim
