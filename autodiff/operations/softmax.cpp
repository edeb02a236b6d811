#include <xgrad/autodiff/kernels/softmax.hpp>
#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/operations/softmax.hpp>
#include <xgrad/autodiff/record.hpp>

namespace xgrad {
namespace {

// The cotangent of x, over the memory of g when nobody else sees it.
template <class T>
Variable<T> backward_in_place(Variable<T>&& g, const Variable<T>& y, const kernels::Slices& slices,
                              void (*kernel)(const T*, const T*, const kernels::Slices&, T*)) {
    const T* const cotangent = g.value().data();
    Variable<T> result = detail::is_sole_owner(g) ? g : Variable<T>(empty<T>(y.shape()));
    kernel(y.value().data(), cotangent, slices, result.node()->value.data());
    return result;
}

}  // namespace

template <class T> Variable<T> softmax(const Variable<T>& x, std::ptrdiff_t axis) {
    const std::size_t along = resolve_axis("softmax", axis, x.dimension());
    const kernels::Slices slices = kernels::slices_along(x.shape(), along);
    Array<T> value = empty<T>(x.shape());
    kernels::softmax(x.value().data(), slices, value.data());
    return record("softmax", std::move(value), with("axis", along),
                  wrt(x, [slices, along](Variable<T> g, const Variable<T>& y) {
                      if (!detail::thread_state.recording)
                          return backward_in_place(std::move(g), y, slices, kernels::softmax_backward<T>);
                      return y * (g - sum(g * y, along, keep_dims));
                  }));
}

template <class T> Variable<T> log_softmax(const Variable<T>& x, std::ptrdiff_t axis) {
    const std::size_t along = resolve_axis("log_softmax", axis, x.dimension());
    const kernels::Slices slices = kernels::slices_along(x.shape(), along);
    Array<T> value = empty<T>(x.shape());
    kernels::log_softmax(x.value().data(), slices, value.data());
    return record("log_softmax", std::move(value), with("axis", along),
                  wrt(x, [slices, along](Variable<T> g, const Variable<T>& y) {
                      if (!detail::thread_state.recording)
                          return backward_in_place(std::move(g), y, slices, kernels::log_softmax_backward<T>);
                      return g - exp(y) * sum(g, along, keep_dims);
                  }));
}

#define XGRAD_INSTANTIATE(T) \
    template Variable<T> softmax(const Variable<T>&, std::ptrdiff_t); \
    template Variable<T> log_softmax(const Variable<T>&, std::ptrdiff_t);
XGRAD_INSTANTIATE(float)
XGRAD_INSTANTIATE(double)

}  // namespace xgrad
