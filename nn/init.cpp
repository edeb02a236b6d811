#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include <xgrad/autodiff/generator.hpp>
#include <xgrad/nn/init.hpp>

namespace xgrad::nn::init {
namespace {

// The product of all sizes but that of one axis.
std::size_t fan(const Shape& weight, std::size_t axis) {
    if (weight.size() < 2)
        throw Error(fmt::format("init: a weight of shape {} has no fan-in; expected (out, in, …)", describe(weight)));
    std::size_t product = 1;
    for (std::size_t i = 0; i < weight.size(); ++i)
        if (i != axis) product *= weight[i];
    return product;
}

// What fan-in and fan-out come to in each family, as the divisor of the variance.
template <class T> double forward_fan(const Variable<T>& weight) { return static_cast<double>(fan_in(weight.shape())); }
template <class T> double mean_fan(const Variable<T>& weight) {
    return 0.5 * static_cast<double>(fan_in(weight.shape()) + fan_out(weight.shape()));
}

template <class T> void normal_of_variance(Variable<T>& weight, double variance) {
    normal(weight, 0, std::sqrt(variance));
}
template <class T> void uniform_of_variance(Variable<T>& weight, double variance) {
    const double bound = std::sqrt(3 * variance);
    uniform(weight, -bound, bound);
}

}  // namespace

template <class T> void uniform(Variable<T>& parameter, double low, double high) {
    parameter.update([&](Array<T>& values) {
        current_generator().fill_uniform(std::span<T>(values.data(), values.size()), static_cast<T>(low),
                                         static_cast<T>(high));
    });
}

template <class T> void normal(Variable<T>& parameter, double mean, double deviation) {
    parameter.update([&](Array<T>& values) {
        current_generator().fill_normal(std::span<T>(values.data(), values.size()), static_cast<T>(mean),
                                        static_cast<T>(deviation));
    });
}

template <class T> void constant(Variable<T>& parameter, double value) {
    parameter.update([&](Array<T>& values) { std::fill_n(values.data(), values.size(), static_cast<T>(value)); });
}

std::size_t fan_in(const Shape& weight) { return fan(weight, 0); }
std::size_t fan_out(const Shape& weight) { return fan(weight, 1); }

double gain(std::string_view activation, double setting) {
    if (activation == "linear" || activation == "sigmoid") return 1;
    if (activation == "relu") return std::numbers::sqrt2;
    if (activation == "leaky_relu") return std::sqrt(2 / (1 + setting * setting));
    if (activation == "tanh") return 5.0 / 3;
    if (activation == "selu") return 0.75;
    throw Error(fmt::format("init::gain: '{}' is unknown; expected linear, sigmoid, relu, leaky_relu, tanh or selu",
                            activation));
}

template <class T> void he_normal(Variable<T>& weight, double gain) {
    normal_of_variance(weight, gain * gain / forward_fan(weight));
}
template <class T> void he_uniform(Variable<T>& weight, double gain) {
    uniform_of_variance(weight, gain * gain / forward_fan(weight));
}
template <class T> void glorot_normal(Variable<T>& weight, double gain) {
    normal_of_variance(weight, gain * gain / mean_fan(weight));
}
template <class T> void glorot_uniform(Variable<T>& weight, double gain) {
    uniform_of_variance(weight, gain * gain / mean_fan(weight));
}
template <class T> void lecun_normal(Variable<T>& weight, double gain) {
    normal_of_variance(weight, gain * gain / forward_fan(weight));
}
template <class T> void lecun_uniform(Variable<T>& weight, double gain) {
    uniform_of_variance(weight, gain * gain / forward_fan(weight));
}

#define XGRAD_INSTANTIATE(T)                             \
    template void uniform(Variable<T>&, double, double); \
    template void normal(Variable<T>&, double, double);  \
    template void constant(Variable<T>&, double);        \
    template void he_normal(Variable<T>&, double);       \
    template void he_uniform(Variable<T>&, double);      \
    template void glorot_normal(Variable<T>&, double);   \
    template void glorot_uniform(Variable<T>&, double);  \
    template void lecun_normal(Variable<T>&, double);    \
    template void lecun_uniform(Variable<T>&, double);
XGRAD_INSTANTIATE(float)
XGRAD_INSTANTIATE(double)

}  // namespace xgrad::nn::init
