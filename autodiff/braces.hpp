// Numbers in nested braces, from which Variables are made.
#pragma once

#include <initializer_list>

#include <xgrad/autodiff/array.hpp>

namespace xgrad::detail {

/// Numbers in nested braces: one constructor for any depth, where xtensor has one for each, which leaves `{{1}}` and,
/// with clang, `x = {}` ambiguous, and does not look whether all rows are as long as the first.
class Braces {
public:
    Braces(Number auto number) : number_(static_cast<double>(number)) {}
    Braces(std::initializer_list<Braces> elements) : elements_(elements), nested_(true) {}

    bool nested() const noexcept { return nested_; }
    double number() const noexcept { return number_; }
    const std::initializer_list<Braces>& elements() const noexcept { return elements_; }

private:
    double number_ = 0;
    std::initializer_list<Braces> elements_;
    bool nested_ = false;
};

/// Throws Error when rows at one depth differ in length.
template <class T> Array<T> from_braces(const std::initializer_list<Braces>& values);

}  // namespace xgrad::detail
