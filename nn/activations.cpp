#include <fmt/format.h>

#include <xgrad/nn/activations.hpp>

namespace xgrad::nn {

template <class T> Softplus<T>::Softplus(double beta, double threshold)
    : FunctionLayer<T, double, double>("Softplus", softplus<T>, beta, threshold) {
    if (beta == 0) throw Error("Softplus: beta is 0, by which the result is divided");
}

template <class T> Hardtanh<T>::Hardtanh(double minimum, double maximum)
    : FunctionLayer<T, double, double>("Hardtanh", hardtanh<T>, minimum, maximum) {
    if (!(minimum <= maximum))
        throw Error(
            fmt::format("Hardtanh: the bounds are {} and {}; expected a lower and an upper one", minimum, maximum));
}

template <class T> PReLU<T>::PReLU(std::size_t count, double slope) {
    if (count == 0) throw Error("PReLU: 0 slopes; expected at least 1");
    weight_ = Variable<T>(full(Shape{count}, static_cast<T>(slope)));
}

template <class T> std::string PReLU<T>::description() const { return fmt::format("PReLU({})", weight_.size()); }

template struct Softplus<float>;
template struct Softplus<double>;
template struct Hardtanh<float>;
template struct Hardtanh<double>;
template class PReLU<float>;
template class PReLU<double>;

}  // namespace xgrad::nn
