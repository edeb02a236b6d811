#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include <xgrad/autodiff/kernels/reduce.hpp>
#include <xgrad/optim/clip.hpp>

namespace xgrad::optim {
namespace {

void check_bound(const char* function, double bound) {
    if (!(bound > 0)) throw Error(fmt::format("{}: the bound is {}; expected a number above 0", function, bound));
}

// The sum of squares. Those of large floats overflow where the numbers themselves are finite: in double they do not.
template <class T>
double squared_norm(const Array<T>& g) {
    const auto sum = static_cast<double>(kernels::squared_norm(g.data(), g.size()));
    if (std::isfinite(sum)) return sum;
    return std::accumulate(g.storage().begin(), g.storage().end(), 0.0,
                           [](double total, T element) { return total + static_cast<double>(element) * element; });
}

// Changes a gradient in place, or a copy of it when somebody else sees it.
template <class T, class F>
void change_gradient(const Variable<T>& parameter, F change) {
    if (!parameter.grad().defined()) return;
    Variable<T>& gradient = parameter.node()->gradient;
    if (!detail::is_sole_owner(gradient)) gradient = detail::copy_of(gradient);
    gradient.update(change);
}

}  // namespace

template <class T>
double clip_grad_norm(const std::vector<Variable<T>>& parameters, double max_norm) {
    check_bound("clip_grad_norm", max_norm);
    double sum = 0;
    for (const Variable<T>& parameter : parameters)
        if (const Variable<T>& gradient = parameter.grad(); gradient.defined())
            sum += squared_norm(gradient.value());
    const double norm = std::sqrt(sum);
    const double factor = max_norm / (norm + 1e-6);
    if (!std::isfinite(norm) || factor >= 1) return norm;
    for (const Variable<T>& parameter : parameters)
        change_gradient(parameter, [&](Array<T>& g) {
            kernels::scale_in_place(g.data(), static_cast<T>(factor), g.size());
        });
    return norm;
}

template <class T>
void clip_grad_value(const std::vector<Variable<T>>& parameters, double max_value) {
    check_bound("clip_grad_value", max_value);
    const T bound = static_cast<T>(max_value);
    for (const Variable<T>& parameter : parameters)
        change_gradient(parameter, [&](Array<T>& g) {
            for (T& element : g.storage()) element = std::clamp(element, -bound, bound);
        });
}

#define XGRAD_INSTANTIATE(T) \
    template double clip_grad_norm(const std::vector<Variable<T>>&, double); \
    template void clip_grad_value(const std::vector<Variable<T>>&, double);
XGRAD_INSTANTIATE(float)
XGRAD_INSTANTIATE(double)

}  // namespace xgrad::optim
