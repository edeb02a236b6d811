#include <algorithm>
#include <cmath>

#include <xgrad/autodiff/tape.hpp>
#include <xgrad/nn/input_jacobian.hpp>

namespace xgrad::nn {

template <class T> double InputJacobian<T>::frobenius_norm() const {
    double sum = 0;
    for (std::size_t i = 0; i < matrix.size(); ++i) sum += static_cast<double>(matrix.data()[i]) * matrix.data()[i];
    return std::sqrt(sum);
}

template <class T> InputJacobian<T> input_jacobian(const Layer<T>& model, const std::type_identity_t<Variable<T>>& x) {
    const EnableGrad enable_grad;
    const EvalMode eval_mode;
    Variable<T> input = x.detach();
    input.requires_grad(true);
    const Variable<T> output = const_cast<Layer<T>&>(model)(input);  // in evaluation mode a forward changes nothing

    Array<T> matrix = full(Shape{output.size(), input.size()}, T{0});
    if (output.requires_grad())
        for (std::size_t row = 0; row < output.size(); ++row) {
            Array<T> one = full(output.shape(), T{0});
            one.data()[row] = 1;
            const auto gradient = grad<T>({output}, {input}, {std::move(one)}, {.retain_graph = true})[0];
            if (!gradient.defined()) continue;
            const Array<T>& values = gradient.value();
            std::copy_n(values.data(), values.size(), matrix.data() + row * input.size());
        }
    return {std::move(matrix)};
}

template double InputJacobian<float>::frobenius_norm() const;
template double InputJacobian<double>::frobenius_norm() const;
template InputJacobian<float> input_jacobian(const Layer<float>&, const Variable<float>&);
template InputJacobian<double> input_jacobian(const Layer<double>&, const Variable<double>&);

}  // namespace xgrad::nn
