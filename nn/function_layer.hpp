// What layers without parameters have in common: a function, with settings.
#pragma once

#include <string>
#include <tuple>
#include <utility>

#include <xgrad/nn/layer.hpp>

namespace xgrad::nn {

/// A layer that is a function with settings and nothing else.
template <class T, class... Settings>
class FunctionLayer : public Layer<T> {
public:
    using Function = Variable<T> (*)(const Variable<T>& x, Settings... settings);

    /// Its name and settings, as in "LeakyReLU(0.01)".
    std::string description() const override;

protected:
    /// `name` is a string literal.
    FunctionLayer(const char* name, Function function, Settings... settings)
        : name_(name), function_(function), settings_(settings...) {}

    Variable<T> forward(const Variable<T>& x) override {
        return std::apply([&](const Settings&... settings) { return function_(x, settings...); }, settings_);
    }

private:
    const char* name_;
    Function function_;
    std::tuple<Settings...> settings_;
};

extern template class FunctionLayer<float>;
extern template class FunctionLayer<double>;
extern template class FunctionLayer<float, double>;
extern template class FunctionLayer<double, double>;
extern template class FunctionLayer<float, double, double>;
extern template class FunctionLayer<double, double, double>;
extern template class FunctionLayer<float, std::ptrdiff_t>;
extern template class FunctionLayer<double, std::ptrdiff_t>;
extern template class FunctionLayer<float, std::ptrdiff_t, std::ptrdiff_t>;
extern template class FunctionLayer<double, std::ptrdiff_t, std::ptrdiff_t>;

}  // namespace xgrad::nn
