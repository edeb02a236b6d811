// Samples with what belongs to them, and the batches that a training loop goes over.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <xgrad/autodiff/array.hpp>
#include <xgrad/autodiff/generator.hpp>
#include <xgrad/autodiff/variable.hpp>

namespace xgrad::training {

/// How `Dataset::batches` cuts.
struct BatchOptions {
    bool drop_last = false;  ///< leave out the last batch when it is shorter than the others
};

/// Some samples at once, as in `auto [images, labels] = batch;`. Labels (std::int64_t) are an Array, since nothing
/// differentiates them; targets of regression are a Variable like the inputs.
template <class T, class Target> struct Batch {
    using Targets = std::conditional_t<std::same_as<Target, std::int64_t>, Array<Target>, Variable<T>>;

    Variable<T> inputs;
    Targets targets;
};

template <class T, class Target> class Batches;

/// Inputs of shape (n, …) and as many targets: labels (n), or numbers (n, …) for regression, of type T then.
template <class T = float, class Target = std::int64_t> class Dataset {
    static_assert(Real<T>, "a Dataset's inputs are float or double; give indices, as of an Embedding, as its targets");
    static_assert(std::same_as<Target, std::int64_t> || std::same_as<Target, T>,
                  "a Dataset's targets are labels, std::int64_t, or numbers of the inputs' type");

public:
    /// Throws Error when there are not as many targets as inputs, or none at all.
    Dataset(Array<T> inputs, Array<Target> targets);
    Dataset(Array<T> inputs, const FractionalArray auto& labels)
        requires(std::same_as<Target, std::int64_t>)
    = delete;  // labels would be truncated

    std::size_t size() const { return inputs_.shape()[0]; }
    const Array<T>& inputs() const { return inputs_; }
    const Array<Target>& targets() const { return targets_; }

    /// The first `count` samples, and those after the first `count`. They look at the same memory.
    /// Throws Error when none would be left, or when there are not so many.
    Dataset take(std::size_t count) const;
    Dataset drop(std::size_t count) const;
    /// The samples with these numbers, in this order, copied: a fold of a cross-validation, say. Throws Error for an
    /// empty list, and for a number that no sample has.
    Dataset subset(std::span<const std::int64_t> samples) const;

    /// The samples in order, `batch_size` at a time. Inputs, and targets that are numbers, look at the set's memory,
    /// without a copy; from then on it is not to be changed in place, which Variable::update and assign refuse.
    /// Throws Error when the batch size is 0, or when no batch would be full and short ones are dropped.
    Batches<T, Target> batches(std::size_t batch_size, BatchOptions options = {}) const;
    /// The samples in a random order, which is drawn from the generator by this call.
    Batches<T, Target> batches(std::size_t batch_size, Generator& generator, BatchOptions options = {}) const;

private:
    Dataset part(std::size_t first, std::size_t count) const;

    Array<T> inputs_;
    Array<Target> targets_;
};

/// A range of batches. It keeps the samples alive, and can be gone over several times.
template <class T, class Target> class Batches {
public:
    class Iterator {
    public:
        using value_type = Batch<T, Target>;
        using difference_type = std::ptrdiff_t;

        Iterator() = default;
        Iterator(const Batches* batches, std::size_t index) : batches_(batches), index_(index) {}

        value_type operator*() const { return (*batches_)[index_]; }
        Iterator& operator++() {
            ++index_;
            return *this;
        }
        Iterator operator++(int) { return std::exchange(*this, Iterator(batches_, index_ + 1)); }
        friend bool operator==(const Iterator&, const Iterator&) = default;

    private:
        const Batches* batches_ = nullptr;
        std::size_t index_ = 0;
    };

    /// `order` says which sample comes when; an empty one leaves them as they are. Throws Error for a batch size of 0
    /// or one that leaves no batch, and for an order of another length or with samples that there are not.
    Batches(const Dataset<T, Target>& samples, std::size_t batch_size, std::vector<std::int64_t> order,
            BatchOptions options);

    /// How many batches there are, and how many samples they have together.
    std::size_t size() const { return (samples_ + batch_size_ - 1) / batch_size_; }
    std::size_t samples() const { return samples_; }

    Batch<T, Target> operator[](std::size_t index) const;
    Iterator begin() const { return {this, 0}; }
    Iterator end() const { return {this, size()}; }

private:
    Array<T> inputs_;
    Array<Target> targets_;
    std::vector<std::int64_t> order_;
    std::size_t batch_size_;
    std::size_t samples_;
};

extern template class Dataset<float, std::int64_t>;
extern template class Dataset<double, std::int64_t>;
extern template class Dataset<float, float>;
extern template class Dataset<double, double>;
extern template class Batches<float, std::int64_t>;
extern template class Batches<double, std::int64_t>;
extern template class Batches<float, float>;
extern template class Batches<double, double>;

}  // namespace xgrad::training
