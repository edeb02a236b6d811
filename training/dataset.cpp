#include <algorithm>

#include <fmt/format.h>

#include <xgrad/autodiff/error.hpp>
#include <xgrad/training/dataset.hpp>

namespace xgrad::training {
namespace {

// Samples first … first + count − 1 of an array, not copied.
template <class E> Array<E> rows(const Array<E>& array, std::size_t first, std::size_t count) {
    Shape shape = array.shape();
    const std::size_t row = array.size() / std::max<std::size_t>(shape[0], 1);
    shape[0] = count;
    return share(array, shape, first * row);
}

// The same as part of a batch: what looks at the set's memory does not change it.
template <class T> Variable<T> part_of_batch(const Array<T>& array, std::size_t first, std::size_t count) {
    array.storage().protect();
    return rows(array, first, count);
}
Array<std::int64_t> part_of_batch(const Array<std::int64_t>& labels, std::size_t first, std::size_t count) {
    const Array<std::int64_t> part = rows(labels, first, count);
    return Array<std::int64_t>(part);
}

// The samples that `order` lists, copied one after the other.
template <class E> Array<E> gather(const Array<E>& array, const std::int64_t* order, std::size_t count) {
    Shape shape = array.shape();
    const std::size_t row = array.size() / shape[0];
    shape[0] = count;
    Array<E> gathered = empty<E>(shape);
    E* out = gathered.data();
    for (std::size_t i = 0; i < count; ++i, out += row)
        std::copy_n(array.data() + static_cast<std::size_t>(order[i]) * row, row, out);
    return gathered;
}

void check_samples(const char* operation, std::span<const std::int64_t> samples, std::size_t size) {
    for (const std::int64_t sample : samples)
        if (sample < 0 || static_cast<std::size_t>(sample) >= size)
            throw Error(fmt::format("{}: there is no sample {} in a set of {}", operation, sample, size));
}

}  // namespace

template <class T, class Target> Dataset<T, Target>::Dataset(Array<T> inputs, Array<Target> targets)
    : inputs_(std::move(inputs)), targets_(std::move(targets)) {
    if (inputs_.dimension() == 0 || targets_.dimension() == 0)
        throw Error(fmt::format("Dataset: inputs {} and targets {} need a first dimension that counts the samples",
                                describe(inputs_.shape()), describe(targets_.shape())));
    if (inputs_.shape()[0] != targets_.shape()[0])
        throw Error(fmt::format("Dataset: {} inputs {} but {} targets {}", inputs_.shape()[0],
                                describe(inputs_.shape()), targets_.shape()[0], describe(targets_.shape())));
    if (size() == 0) throw Error("Dataset: there are no samples");
    if (std::same_as<Target, std::int64_t> && targets_.dimension() != 1)
        throw Error(fmt::format("Dataset: labels must have the shape (n,), not {}", describe(targets_.shape())));
}

template <class T, class Target>
Dataset<T, Target> Dataset<T, Target>::part(std::size_t first, std::size_t count) const {
    return Dataset(rows(inputs_, first, count), rows(targets_, first, count));
}

template <class T, class Target> Dataset<T, Target> Dataset<T, Target>::take(std::size_t count) const {
    if (count == 0 || count > size())
        throw Error(fmt::format("take: {} samples of a set of {}; it must be 1 to {}", count, size(), size()));
    return part(0, count);
}

template <class T, class Target> Dataset<T, Target> Dataset<T, Target>::drop(std::size_t count) const {
    if (count >= size())
        throw Error(fmt::format("drop: {} samples of a set of {}; it must be 0 to {}", count, size(), size() - 1));
    return part(count, size() - count);
}

template <class T, class Target>
Dataset<T, Target> Dataset<T, Target>::subset(std::span<const std::int64_t> samples) const {
    if (samples.empty()) throw Error("subset: the list of samples is empty");
    check_samples("subset", samples, size());
    return Dataset(gather(inputs_, samples.data(), samples.size()), gather(targets_, samples.data(), samples.size()));
}

template <class T, class Target>
Batches<T, Target> Dataset<T, Target>::batches(std::size_t batch_size, BatchOptions options) const {
    return {*this, batch_size, {}, options};
}

template <class T, class Target>
Batches<T, Target> Dataset<T, Target>::batches(std::size_t batch_size, Generator& generator,
                                               BatchOptions options) const {
    return {*this, batch_size, generator.permutation(size()), options};
}

template <class T, class Target>
Batches<T, Target>::Batches(const Dataset<T, Target>& samples, std::size_t batch_size, std::vector<std::int64_t> order,
                            BatchOptions options)
    : inputs_(rows(samples.inputs(), 0, samples.size())),
      targets_(rows(samples.targets(), 0, samples.size())),
      order_(std::move(order)),
      batch_size_(batch_size),
      samples_(samples.size()) {
    if (batch_size == 0) throw Error("batches: the batch size is 0; it must be at least 1");
    if (options.drop_last) samples_ -= samples_ % batch_size;
    if (samples_ == 0)
        throw Error(fmt::format("batches: {} samples make no full batch of {}, and shorter ones are dropped",
                                samples.size(), batch_size));
    if (!order_.empty() && order_.size() != samples.size())
        throw Error(fmt::format("batches: an order of {} for {} samples", order_.size(), samples.size()));
    check_samples("batches", order_, samples.size());
}

template <class T, class Target> Batch<T, Target> Batches<T, Target>::operator[](std::size_t index) const {
    if (index >= size()) throw Error(fmt::format("batches: there is no batch {} of {}", index, size()));
    const std::size_t first = index * batch_size_;
    const std::size_t count = std::min(batch_size_, samples_ - first);
    if (order_.empty()) return {part_of_batch(inputs_, first, count), part_of_batch(targets_, first, count)};
    const std::int64_t* order = order_.data() + first;
    return {gather(inputs_, order, count), gather(targets_, order, count)};
}

template class Dataset<float, std::int64_t>;
template class Dataset<double, std::int64_t>;
template class Dataset<float, float>;
template class Dataset<double, double>;
template class Batches<float, std::int64_t>;
template class Batches<double, std::int64_t>;
template class Batches<float, float>;
template class Batches<double, double>;

}  // namespace xgrad::training
