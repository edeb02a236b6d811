#include <algorithm>

#include <fmt/format.h>

#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/embedding.hpp>
#include <xgrad/autodiff/operations/places.hpp>
#include <xgrad/autodiff/record.hpp>

namespace xgrad {
namespace {

void check_embedding(const Shape& weight, const Array<std::int64_t>& indices) {
    if (weight.size() != 2)
        throw Error(fmt::format("embedding: the weight has shape {}; expected (count, size)", describe(weight)));
    const auto count = static_cast<std::int64_t>(weight[0]);
    for (const std::int64_t index : indices)
        if (index < 0 || index >= count)
            throw Error(fmt::format("embedding: index {} is out of range for a weight of shape {}; expected 0 to {}",
                                    index, describe(weight), count - 1));
}

// Where the padding is not, of shape (indices…, 1).
Array<bool> all_but(std::int64_t padding, const Array<std::int64_t>& indices) {
    Shape shape = indices.shape();
    shape.push_back(1);
    Array<bool> mask = empty<bool>(shape);
    std::transform(indices.begin(), indices.end(), mask.begin(), [=](std::int64_t index) { return index != padding; });
    return mask;
}

}  // namespace

template <class T>
Variable<T> embedding(const Variable<T>& weight, const Array<std::int64_t>& indices,
                      std::optional<std::int64_t> padding_index) {
    check_embedding(weight.shape(), indices);
    const std::shared_ptr<const Place> place = make_place(Positions{0, indices});
    Shape shape = indices.shape();
    shape.push_back(weight.shape()[1]);
    Array<T> value = empty<T>(shape);
    detail::copy_from(value, weight.value(), *place);
    return record("embedding", std::move(value), with("indices", indices),
                  wrt(weight, [place, padding_index](Variable<T> g) {
                      if (padding_index)
                          g = where(all_but(*padding_index, std::get<Positions>(*place).indices), g, Variable<T>(0));
                      return Partial<T>{std::move(g), place};
                  }));
}

template Variable<float> embedding(const Variable<float>&, const Array<std::int64_t>&, std::optional<std::int64_t>);
template Variable<double> embedding(const Variable<double>&, const Array<std::int64_t>&, std::optional<std::int64_t>);

}  // namespace xgrad
