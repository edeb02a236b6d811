#include <algorithm>
#include <cstring>
#include <set>

#include <fmt/format.h>

#include <xgrad/nn/instruments.hpp>
#include <xgrad/nn/layer_norm.hpp>

namespace xgrad::nn::detail {

template <class T> Preserve<T>::Preserve(Module<T>& module) {
    for (const auto& [name, buffer] : module.named_buffers())
        std::visit([&](auto* array) { buffers_.emplace_back(std::pair(array, *array)); }, buffer);
}

template <class T> Preserve<T>::~Preserve() {
    current_generator() = generator_;
    for (auto& saved : buffers_)
        std::visit(
            [](auto& buffer) {
                auto& [array, before] = buffer;
                const std::size_t bytes = before.size() * sizeof(*before.data());
                if (array->shape() != before.shape()) {
                    *array = std::move(before);
                } else if (bytes > 0 && std::memcmp(array->data(), before.data(), bytes) != 0) {
                    std::memcpy(array->data(), before.data(), bytes);
                    array->storage().touch();
                }
            },
            saved);
}

template <class T> LayerNames<T>::LayerNames(const Module<T>& module) {
    for (const auto& [name, part] : module.named_modules()) names_.emplace(part, name);
}

template <class T> const std::string* LayerNames<T>::find(const Layer<T>& layer) const {
    const auto found = names_.find(&layer);
    return found == names_.end() ? nullptr : &found->second;
}

template <class T> std::vector<Variable<T>> own_parameters(const Layer<T>& layer) {
    std::set<const void*> inner;
    for (const auto& [name, module] : layer.named_modules())
        if (!name.empty())
            for (const Variable<T>& parameter : module->parameters()) inner.insert(parameter.node());
    std::vector<Variable<T>> own = layer.parameters();
    std::erase_if(own, [&](const Variable<T>& parameter) { return inner.contains(parameter.node()); });
    return own;
}

template <class T> std::vector<Variable<T>> own_weights(const Layer<T>& layer) {
    if (dynamic_cast<const LayerNorm<T>*>(&layer)) return {};
    std::vector<Variable<T>> own = own_parameters(layer);
    std::erase_if(own, [](const Variable<T>& parameter) { return parameter.dimension() < 2; });
    return own;
}

std::string table(const std::vector<std::vector<std::string>>& rows, std::size_t left) {
    // Characters of UTF-8, which is what fmt counts when it fills a cell up.
    const auto width_of = [](const std::string& text) {
        return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; }));
    };
    std::vector<std::size_t> widths(rows.at(0).size());
    for (const auto& row : rows)
        for (std::size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
    std::string text;
    for (const auto& row : rows) {
        std::string line;
        for (std::size_t i = 0; i < widths.size(); ++i)
            line += i < left ? fmt::format("{:<{}}  ", row[i], widths[i]) : fmt::format("{:>{}}  ", row[i], widths[i]);
        text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
    }
    return text;
}

#define XGRAD_INSTANTIATE(T)                                           \
    template class Preserve<T>;                                        \
    template class LayerNames<T>;                                      \
    template std::vector<Variable<T>> own_parameters(const Layer<T>&); \
    template std::vector<Variable<T>> own_weights(const Layer<T>&);
XGRAD_INSTANTIATE(float)
XGRAD_INSTANTIATE(double)

}  // namespace xgrad::nn::detail
