#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <typeinfo>

#include <fmt/format.h>

#include <xgrad/nn/module.hpp>

namespace xgrad::nn {

template <class T> std::string Fields<T>::path_of(std::string_view name) const {
    return path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name);
}

template <class T> Fields<T>& Fields<T>::operator()(std::string_view name, Parameter<T>& parameter) {
    xgrad::detail::mark_listed(parameter);
    if (parameter.defined()) parameters_.emplace_back(path_of(name), parameter);
    return *this;
}

template <class T> Fields<T>& Fields<T>::operator()(std::string_view name, Array<T>& buffer) {
    buffers_.emplace_back(path_of(name), &buffer);
    return *this;
}

template <class T> Fields<T>& Fields<T>::operator()(std::string_view name, Array<std::int64_t>& buffer) {
    buffers_.emplace_back(path_of(name), &buffer);
    return *this;
}

template <class T> Fields<T>& Fields<T>::operator()(std::string_view name, Module<T>& module) {
    const std::string outer = path_;
    path_ = path_of(name);
    modules_.emplace_back(path_, &module);
    module.fields(*this);
    path_ = outer;
    return *this;
}

template <class T> Fields<T> Module<T>::listed() const {
    auto& self = const_cast<Module&>(*this);
    Fields<T> fields;
    fields.modules_.emplace_back("", &self);
    self.fields(fields);
    return fields;
}

// Under one name only one of several parameters and buffers could be saved.
template <class T> Fields<T> Module<T>::listed_by_name() const {
    Fields<T> fields = listed();
    std::vector<std::string_view> names;
    for (const auto& [name, parameter] : fields.parameters_) names.push_back(name);
    for (const auto& [name, buffer] : fields.buffers_) names.push_back(name);
    std::sort(names.begin(), names.end());
    if (const auto twice = std::adjacent_find(names.begin(), names.end()); twice != names.end())
        throw Error(fmt::format("fields: '{}' is listed twice; names must differ", *twice));
    return fields;
}

template <class T> std::vector<Variable<T>> Module<T>::parameters() const {
    std::vector<Variable<T>> result;
    for (auto& [name, parameter] : listed().parameters_) result.push_back(std::move(parameter));
    return result;
}

template <class T> std::vector<Named<Variable<T>>> Module<T>::named_parameters(std::string_view pattern) const {
    auto parameters = listed_by_name().parameters_;
    std::erase_if(parameters, [&](const auto& named) { return !matches(named.first, pattern); });
    return parameters;
}

template <class T> std::vector<Named<BufferPointer<T>>> Module<T>::named_buffers() { return listed_by_name().buffers_; }

template <class T> std::vector<Named<ConstBufferPointer<T>>> Module<T>::named_buffers() const {
    std::vector<Named<ConstBufferPointer<T>>> result;
    for (const auto& [name, buffer] : listed_by_name().buffers_)
        std::visit([&, &name = name](const auto* array) { result.emplace_back(name, array); }, buffer);
    return result;
}

template <class T> std::vector<Named<Module<T>*>> Module<T>::named_modules() { return listed().modules_; }

template <class T> std::vector<Named<const Module<T>*>> Module<T>::named_modules() const {
    const Fields<T> fields = listed();
    return {fields.modules_.begin(), fields.modules_.end()};
}

template <class T> std::size_t Module<T>::parameter_count(bool all) const {
    std::size_t count = 0;
    for (const Variable<T>& parameter : parameters())
        if (all || parameter.requires_grad()) count += parameter.size();
    return count;
}

namespace {

template <class T>
std::size_t set_trained(const char* operation, const Module<T>& module, std::string_view pattern, bool trained) {
    auto chosen = module.named_parameters(pattern);
    if (chosen.empty()) throw Error(fmt::format("{}: no parameter's name matches '{}'", operation, pattern));
    for (auto& [name, parameter] : chosen) parameter.requires_grad(trained);
    return chosen.size();
}

}  // namespace

template <class T> std::size_t Module<T>::freeze(std::string_view pattern) {
    return set_trained("freeze", *this, pattern, false);
}

template <class T> std::size_t Module<T>::unfreeze(std::string_view pattern) {
    return set_trained("unfreeze", *this, pattern, true);
}

template <class T> void Module<T>::zero_grad() {
    for (Variable<T>& parameter : parameters()) parameter.zero_grad();
}

template <class T> void Module<T>::train(bool training) {
    for (auto& [name, module] : named_modules()) module->training_ = training;
}

template <class T> bool Module<T>::training() const {
    return training_ && !EvalMode::active();
}

template <class T> std::string Module<T>::description() const {
    int status = 0;
    char* const text = abi::__cxa_demangle(typeid(*this).name(), nullptr, nullptr, &status);
    std::string name = text ? text : typeid(*this).name();
    std::free(text);
    name = name.substr(0, name.find('<'));
    const std::size_t scope = name.rfind("::");
    return scope == std::string::npos ? name : name.substr(scope + 2);
}

bool matches(std::string_view name, std::string_view pattern) {
    const std::size_t star = pattern.find('*');
    if (star == std::string_view::npos) return name == pattern;
    if (name.substr(0, star) != pattern.substr(0, star)) return false;
    for (std::size_t skip = star; skip <= name.size(); ++skip)
        if (matches(name.substr(skip), pattern.substr(star + 1))) return true;
    return false;
}

template class Fields<float>;
template class Fields<double>;
template class Module<float>;
template class Module<double>;

}  // namespace xgrad::nn
