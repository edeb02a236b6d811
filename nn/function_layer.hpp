// What layers without parameters have in common: a function, with settings.
#pragma once

#include <initializer_list>
#include <string>
#include <tuple>

#include <xgrad/nn/layer.hpp>

namespace xgrad::nn {
namespace detail {

/// A name with its settings, as in "LeakyReLU(0.01)".
std::string describe_call(const char* name, std::initializer_list<double> settings);

}  // namespace detail

/// A layer that is a function with settings (numbers) and nothing else.
template <class T, class... Settings> class FunctionLayer : public Layer<T> {
public:
    using Function = Variable<T> (*)(Variable<T> x, Settings... settings);

    std::string description() const override {
        return with_settings(
            [&](auto... settings) { return detail::describe_call(name_, {static_cast<double>(settings)...}); });
    }

protected:
    /// `name` is a string literal.
    FunctionLayer(const char* name, Function function, Settings... settings)
        : name_(name), function_(function), settings_(settings...) {}

    Variable<T> forward(const Variable<T>& x) override {
        return with_settings([&](auto... settings) { return function_(x, settings...); });
    }

private:
    template <class F> auto with_settings(F f) const { return std::apply(f, settings_); }

    const char* name_;
    Function function_;
    std::tuple<Settings...> settings_;
};

}  // namespace xgrad::nn
