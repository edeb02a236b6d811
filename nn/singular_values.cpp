// The spectrum of a Jacobian, in a file of its own: programs that do not ask for it carry no linear algebra.
#include <cmath>

#include <xtensor-blas/xlinalg.hpp>

#include <xgrad/autodiff/xtensor.hpp>
#include <xgrad/nn/input_jacobian.hpp>

namespace xgrad::nn {

template <class T> std::vector<double> InputJacobian<T>::singular_values() const {
    if (matrix.size() == 0) return {};
    xt::xtensor<double, 2> copy(std::array{matrix.shape()[0], matrix.shape()[1]});
    for (std::size_t i = 0; i < matrix.size(); ++i) {
        if (!std::isfinite(matrix.data()[i])) throw Error("singular_values: the Jacobian is not finite");
        copy.data()[i] = matrix.data()[i];
    }
    const auto values = std::get<1>(xt::linalg::svd(copy, false, false));
    return {values.begin(), values.end()};
}

template <class T> double InputJacobian<T>::spectral_norm() const {
    const std::vector<double> values = singular_values();
    return values.empty() ? 0 : values.front();
}

template std::vector<double> InputJacobian<float>::singular_values() const;
template std::vector<double> InputJacobian<double>::singular_values() const;
template double InputJacobian<float>::spectral_norm() const;
template double InputJacobian<double>::spectral_norm() const;

}  // namespace xgrad::nn
