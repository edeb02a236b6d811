// What is compared beside chains of layers: losses with the gradients of all parameters. run_jax.py says the same in
// Python; what each model computes stands beside the others in run_xgrad.cpp, as one would write it there: LibTorch has
// an LSTM of its own, which multiplies the inputs of all steps at once.
//
// Element i (row-major) of input k is value(k, i), of parameter k value(100 + k, i) * sqrt(1 / last extent), of streams
// as in measure.hpp. The loss of all but the mixture is the mean of squares of what they compute.
#pragma once

#include "measure.hpp"

namespace peers {

using Shape = std::vector<std::size_t>;

struct Model {
    std::string name;
    std::vector<Shape> inputs, parameters;
};

inline Model model(const std::string& name) {
    for (const Model& each : std::vector<Model>{
             // A block with normalisation first: 8 texts of 64 tokens, 128 wide, 4 heads.
             {"transformer",
              {{8, 64, 128}},
              {{128}, {128}, {384, 128}, {384}, {128, 128}, {128}, {128}, {128}, {512, 128}, {512}, {128, 512}, {128}}},
             // 32 steps of a batch of 32, 128 inputs and 128 units; gates in the order input, forget, cell, output.
             {"lstm", {{32, 32, 128}}, {{512, 128}, {512, 128}}},
             // Burgers' equation ∂u/∂t + u ∂u/∂x − 0.01 ∂²u/∂x² at 1024 places (x, t); u has three hidden layers.
             {"burgers", {{1024, 1}, {1024, 1}}, {{64, 2}, {64}, {64, 64}, {64}, {64, 64}, {64}, {1, 64}, {1}}},
             // The mean of −log p, but for a constant, of 4096 points in the plane under 16 normals along its axes.
             {"mixture", {{4096, 1, 2}}, {{16}, {16, 2}, {16, 2}}},
         })
        if (each.name == name) return each;
    throw std::invalid_argument("there is no model " + name);
}

inline std::size_t size(const Shape& shape) {
    std::size_t result = 1;
    for (const std::size_t extent : shape) result *= extent;
    return result;
}

inline std::vector<float> input(const Model& m, std::size_t k) { return values(k, size(m.inputs[k])); }

inline std::vector<float> parameter(const Model& m, std::size_t k) {
    const Shape& shape = m.parameters[k];
    return values(100 + k, size(shape), std::sqrt(1.0 / static_cast<double>(shape.back())));
}

}  // namespace peers
