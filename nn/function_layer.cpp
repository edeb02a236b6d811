#include <fmt/format.h>

#include <xgrad/nn/function_layer.hpp>

namespace xgrad::nn::detail {

std::string describe_call(const char* name, std::initializer_list<double> settings) {
    return settings.size() == 0 ? name : fmt::format("{}({})", name, fmt::join(settings, ", "));
}

}  // namespace xgrad::nn::detail
