// The kernels of the library's formulas, made from their list.
#include <xgrad/autodiff/kernels/elementwise.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {
namespace {

template <class Formula> consteval std::size_t operands() {
    using L = Lane<float>;
    return std::invocable<Formula, L> ? 1 : std::invocable<Formula, L, L> ? 2 : 3;
}

template <class T, class... Formula> const ElementwiseKernel<T>* table(formulas::List<Formula...>) {
    static constexpr ElementwiseKernel<T> kernels[] = {elementwise_kernel<Formula, T, operands<Formula>()>...};
    return kernels;
}

}  // namespace

template <class T> const ElementwiseKernel<T>* formula_kernels() { return table<T>(formulas::Formulas()); }
template const ElementwiseKernel<float>* formula_kernels();
template const ElementwiseKernel<double>* formula_kernels();

}  // namespace xgrad::kernels::XGRAD_LEVEL
