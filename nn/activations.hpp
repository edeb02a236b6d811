// Activation functions as layers. The functions themselves are in autodiff/operations/activations.hpp.
#pragma once

#include <xgrad/autodiff/operations/activations.hpp>
#include <xgrad/nn/layer.hpp>

namespace xgrad::nn {

/// max(x, 0)
template <class T = float>
class ReLU : public Layer<T> {
public:
    std::string description() const override { return "ReLU"; }
    Activation activation() const override { return Activation::relu; }

protected:
    Variable<T> forward(const Variable<T>& x) override { return relu(x); }
};

}  // namespace xgrad::nn
