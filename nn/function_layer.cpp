#include <fmt/format.h>

#include <xgrad/nn/function_layer.hpp>

namespace xgrad::nn {

template <class T, class... Settings>
std::string FunctionLayer<T, Settings...>::description() const {
    std::string list;
    const auto append = [&](const auto& setting) { list += fmt::format("{}{}", list.empty() ? "" : ", ", setting); };
    std::apply([&](const Settings&... settings) { (append(settings), ...); }, settings_);
    return list.empty() ? name_ : fmt::format("{}({})", name_, list);
}

template class FunctionLayer<float>;
template class FunctionLayer<double>;
template class FunctionLayer<float, double>;
template class FunctionLayer<double, double>;
template class FunctionLayer<float, double, double>;
template class FunctionLayer<double, double, double>;
template class FunctionLayer<float, std::ptrdiff_t>;
template class FunctionLayer<double, std::ptrdiff_t>;
template class FunctionLayer<float, std::ptrdiff_t, std::ptrdiff_t>;
template class FunctionLayer<double, std::ptrdiff_t, std::ptrdiff_t>;

}  // namespace xgrad::nn
