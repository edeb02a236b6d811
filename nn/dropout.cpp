#include <fmt/format.h>

#include <xgrad/autodiff/operations/dropout.hpp>
#include <xgrad/nn/dropout.hpp>

namespace xgrad::nn {

template <class T> Dropout<T>::Dropout(double probability) : probability_(probability) {
    if (!(probability >= 0 && probability <= 1))
        throw Error(fmt::format("Dropout: the probability is {}; expected 0 to 1", probability));
}

template <class T> std::string Dropout<T>::description() const { return fmt::format("Dropout({})", probability_); }

template <class T> Variable<T> Dropout<T>::forward(const Variable<T>& x) {
    return this->training() ? dropout(x, probability_) : x;
}

template class Dropout<float>;
template class Dropout<double>;

}  // namespace xgrad::nn
