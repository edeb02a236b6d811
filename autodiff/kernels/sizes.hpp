// How sizes are cut into parts.
#pragma once

#include <cstddef>

namespace xgrad::kernels {
namespace {  // so that no two levels share a symbol

constexpr std::size_t ceil_divide(std::size_t size, std::size_t unit) { return (size + unit - 1) / unit; }
constexpr std::size_t round_up(std::size_t size, std::size_t unit) { return ceil_divide(size, unit) * unit; }
// The size of parts of about the same size, of at most `most` each.
constexpr std::size_t even_part(std::size_t size, std::size_t most) {
    return size <= most ? size : ceil_divide(size, ceil_divide(size, most));
}

}  // namespace
}  // namespace xgrad::kernels
