#include <xgrad/autodiff/braces.hpp>

#include <cstddef>

#include <fmt/format.h>

#include <xgrad/autodiff/error.hpp>

namespace xgrad::detail {

namespace {

// Writes the numbers one after the other, and checks that they fill the shape from dimension `depth` on.
template <class T>
void write_braces(const std::initializer_list<Braces>& values, const Shape& shape, std::size_t depth, T*& target) {
    if (values.size() != shape[depth])
        throw Error(fmt::format("Variable: a row of {} elements stands in braces beside one of {}", values.size(),
                                shape[depth]));
    for (const Braces& value : values) {
        if (value.nested() != (depth + 1 < shape.size()))
            throw Error("Variable: the braces are not nested to the same depth everywhere");
        if (value.nested())
            write_braces(value.elements(), shape, depth + 1, target);
        else
            *target++ = static_cast<T>(value.number());
    }
}

}  // namespace

template <class T> Array<T> from_braces(const std::initializer_list<Braces>& values) {
    Shape shape{values.size()};
    for (auto* row = &values; row->size() > 0 && row->begin()->nested(); shape.push_back(row->size()))
        row = &row->begin()->elements();
    Array<T> array = empty<T>(shape);
    T* target = array.data();
    write_braces(values, shape, 0, target);
    return array;
}

template Array<float> from_braces(const std::initializer_list<Braces>&);
template Array<double> from_braces(const std::initializer_list<Braces>&);

}  // namespace xgrad::detail
