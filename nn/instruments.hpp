// What the instruments share: what looks at a network while it runs must leave it as it was, and know its layers by
// name.
#pragma once

#include <map>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <xgrad/autodiff/generator.hpp>
#include <xgrad/nn/layer.hpp>

namespace xgrad::nn::detail {

/// Brings a module's buffers and the thread's generator back, when it goes, to what they were: a forward in training
/// mode moves running statistics and draws numbers for Dropout.
template <class T> class Preserve {
public:
    explicit Preserve(Module<T>& module);
    ~Preserve();
    Preserve(const Preserve&) = delete;
    Preserve& operator=(const Preserve&) = delete;

private:
    template <class X> using Saved = std::pair<Array<X>*, Array<X>>;

    std::vector<std::variant<Saved<T>, Saved<std::int64_t>>> buffers_;
    Generator generator_ = current_generator();
};

/// While it lives, layers of this thread call neither hooks nor watchers: those are for what goes through a network,
/// not for numbers that an instrument tries on a layer.
class Unwatched {
public:
    Unwatched() noexcept { ++depth_; }
    ~Unwatched() { --depth_; }
    Unwatched(const Unwatched&) = delete;
    Unwatched& operator=(const Unwatched&) = delete;

    static bool active() noexcept { return depth_ > 0; }

private:
    static inline constinit thread_local int depth_ = 0;
};

/// The paths of the layers within a module.
template <class T> class LayerNames {
public:
    explicit LayerNames(const Module<T>& module);
    /// Null for a layer that the module does not list.
    const std::string* find(const Layer<T>& layer) const;

private:
    std::map<const Module<T>*, std::string> names_;
};

/// The parameters of a layer that are not those of a module within it.
template <class T> std::vector<Variable<T>> own_parameters(const Layer<T>& layer);

/// Those of them that are matrices θ in z = θh, or convolutions: two axes and more, but no scales of a LayerNorm.
template <class T> std::vector<Variable<T>> own_weights(const Layer<T>& layer);

/// Rows of cells as a table: the first `left` columns begin on the left, the others end on the right.
std::string table(const std::vector<std::vector<std::string>>& rows, std::size_t left);

/// In double: the squares of an exploding signal do not fit into a float.
struct Statistics {
    double mean = 0, variance = 0;

    template <class T> explicit Statistics(const Array<T>& values) {
        const std::span<const T> all(values.data(), values.size());
        if (all.empty()) return;
        const auto count = static_cast<double>(all.size());
        for (const T value : all) mean += value;
        mean /= count;
        for (const T value : all) variance += (value - mean) * (value - mean);
        variance /= count;
    }
};

extern template class Preserve<float>;
extern template class Preserve<double>;
extern template class LayerNames<float>;
extern template class LayerNames<double>;

}  // namespace xgrad::nn::detail
