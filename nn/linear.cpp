#include <cmath>

#include <fmt/format.h>

#include <xgrad/nn/init.hpp>
#include <xgrad/nn/linear.hpp>

namespace xgrad::nn {

template <class T> Linear<T>::Linear(std::size_t in, std::size_t out, LinearOptions options) {
    if (in == 0 || out == 0) throw Error(fmt::format("Linear: {} inputs and {} outputs; expected at least 1", in, out));
    const double bound = 1 / std::sqrt(static_cast<double>(in));
    weight_ = Parameter<T>(Shape{out, in});
    init::uniform(weight_, -bound, bound);
    if (!options.bias) return;
    bias_ = Parameter<T>(Shape{out});
    init::uniform(bias_, -bound, bound);
}

template <class T> std::string Linear<T>::description() const {
    return fmt::format("Linear({}, {}{})", weight_.shape()[1], weight_.shape()[0], bias_.defined() ? "" : ", no bias");
}

template class Linear<float>;
template class Linear<double>;

}  // namespace xgrad::nn
