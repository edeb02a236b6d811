// The kernels of the library's formulas, made from their list.
#include <tuple>

#include <xgrad/autodiff/kernels/elementwise.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {

template <class Formula, class T> const ElementwiseKernel<T, operands_of<Formula>()>& formula_kernel() {
    return elementwise_kernel<Formula, T, operands_of<Formula>()>;
}

namespace {

// Nobody reads this: naming the kernels of all formulas is what makes the compiler write them. Each is in a section of
// its own, so that a program carries those that it uses.
template <class T, class... Formula> constexpr auto all(formulas::List<Formula...>) {
    return std::tuple{&formula_kernel<Formula, T>...};
}
[[gnu::used]] constexpr auto of_floats = all<float>(formulas::Formulas());
[[gnu::used]] constexpr auto of_doubles = all<double>(formulas::Formulas());

}  // namespace
}  // namespace xgrad::kernels::XGRAD_LEVEL
