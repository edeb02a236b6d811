// A trained vector for each of a number of things.
#pragma once

#include <cstdint>
#include <optional>

#include <xgrad/nn/module.hpp>

namespace xgrad::nn {

/// The settings of an Embedding.
struct EmbeddingOptions {
    std::optional<std::size_t> padding_index = std::nullopt;  ///< a row that stays as it is, 0 at first
};

/// Rows of its `weight` (count, size), drawn at first from N(0, 1), by their indices. It is a Module, and not a Layer,
/// because indices are no Variable: `embedding(words)` with an array of any shape gives (words…, size).
template <class T = float> class Embedding : public Module<T> {
public:
    /// Throws Error when count or size is 0, or padding_index is not below count.
    Embedding(std::size_t count, std::size_t size, EmbeddingOptions options = {});

    /// Throws Error when an index is not one of 0 … count − 1.
    Variable<T> operator()(const Array<std::int64_t>& indices) const;
    Variable<T> operator()(const NoIndices auto& indices) const = delete;

    Parameter<T>& weight() noexcept { return weight_; }
    const Parameter<T>& weight() const noexcept { return weight_; }

    void fields(Fields<T>& f) override { f("weight", weight_); }
    std::string description() const override;

private:
    Parameter<T> weight_;
    std::optional<std::size_t> padding_index_;
};

extern template class Embedding<float>;
extern template class Embedding<double>;

}  // namespace xgrad::nn
