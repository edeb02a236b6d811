// Hidden representations taken out of a network.
#pragma once

#include <string_view>
#include <type_traits>
#include <vector>

#include <xgrad/nn/layer.hpp>

namespace xgrad::nn {

/// The hidden representations h⁽ˡ⁾ (embeddings) of an input: the outputs of all layers whose names the pattern matches,
/// in the order of execution, each with its name. The model is not changed and behaves as in evaluation mode; it may be
/// const and serve several threads.
///
///     auto h = nn::representations(model, x, "3");            // of one layer
///     auto all = nn::representations(model, x, "encoder.*");  // `*` stands for any characters
///
/// A layer that is called more than once is there more than once; the model's own name is "".
/// Throws Error when no layer that was called has such a name.
template <class T>
std::vector<Named<Array<T>>> representations(const Layer<T>& model, const std::type_identity_t<Variable<T>>& x,
                                             std::string_view pattern = "*");

}  // namespace xgrad::nn
