#include <fmt/format.h>
#include <fmt/ranges.h>

#include <xgrad/autodiff/error.hpp>

namespace xgrad {

std::string describe(std::span<const std::size_t> shape) {
    return fmt::format("({}{})", fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
}

}  // namespace xgrad
