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
    if (parameter.defined()) on_parameter(path_of(name), parameter);
    return *this;
}

template <class T> Fields<T>& Fields<T>::operator()(std::string_view name, Array<T>& buffer) {
    on_buffer(path_of(name), buffer);
    return *this;
}

template <class T> Fields<T>& Fields<T>::operator()(std::string_view name, Array<std::int64_t>& buffer) {
    on_buffer(path_of(name), buffer);
    return *this;
}

template <class T> Fields<T>& Fields<T>::operator()(std::string_view name, Module<T>& module) {
    const std::string outer = path_;
    path_ = path_of(name);
    on_module(path_, module);
    module.fields(*this);
    path_ = outer;
    return *this;
}

namespace {

// The walks. None changes the module; they hand out what may be changed only to those who may change the module.

template <class T, class OnParameter> void each_parameter(const Module<T>& module, OnParameter on) {
    struct Walk : Fields<T> {
        OnParameter& call;
        explicit Walk(OnParameter& function) : call(function) {}
        void on_parameter(const std::string& path, Parameter<T>& parameter) override { call(path, parameter); }
    } walk(on);
    const_cast<Module<T>&>(module).fields(walk);
}

template <class T, class OnBuffer> void each_buffer(const Module<T>& module, OnBuffer on) {
    struct Walk : Fields<T> {
        OnBuffer& call;
        explicit Walk(OnBuffer& function) : call(function) {}
        void on_buffer(const std::string& path, Array<T>& buffer) override { call(path, &buffer); }
        void on_buffer(const std::string& path, Array<std::int64_t>& buffer) override { call(path, &buffer); }
    } walk(on);
    const_cast<Module<T>&>(module).fields(walk);
}

template <class T, class OnModule> void each_module(const Module<T>& module, OnModule on) {
    struct Walk : Fields<T> {
        OnModule& call;
        explicit Walk(OnModule& function) : call(function) {}
        void on_module(const std::string& path, Module<T>& inner) override { call(path, &inner); }
    } walk(on);
    on(std::string(), const_cast<Module<T>*>(&module));
    const_cast<Module<T>&>(module).fields(walk);
}

// Under one name only one of several parameters and buffers could be saved.
template <class T> void check_names(const Module<T>& module) {
    std::vector<std::string> names;
    const auto add = [&](const std::string& path, const auto&) { names.push_back(path); };
    each_parameter(module, add);
    each_buffer(module, add);
    std::sort(names.begin(), names.end());
    if (const auto twice = std::adjacent_find(names.begin(), names.end()); twice != names.end())
        throw Error(fmt::format("fields: '{}' is listed twice; names must differ", *twice));
}

template <class T>
std::size_t set_trained(const char* operation, const Module<T>& module, std::string_view pattern, bool trained) {
    auto chosen = module.named_parameters(pattern);
    if (chosen.empty()) throw Error(fmt::format("{}: no parameter's name matches '{}'", operation, pattern));
    for (auto& [name, parameter] : chosen) parameter.requires_grad(trained);
    return chosen.size();
}

}  // namespace

template <class T> std::vector<Variable<T>> Module<T>::parameters() const {
    std::vector<Variable<T>> result;
    each_parameter(*this, [&](const std::string&, const Variable<T>& parameter) { result.push_back(parameter); });
    return result;
}

template <class T> std::vector<Named<Variable<T>>> Module<T>::named_parameters(std::string_view pattern) const {
    check_names(*this);
    std::vector<Named<Variable<T>>> result;
    each_parameter(*this, [&](const std::string& path, const Variable<T>& parameter) {
        if (matches(path, pattern)) result.emplace_back(path, parameter);
    });
    return result;
}

template <class T> std::vector<Named<BufferPointer<T>>> Module<T>::named_buffers() {
    check_names(*this);
    std::vector<Named<BufferPointer<T>>> result;
    each_buffer(*this, [&](const std::string& path, auto* buffer) { result.emplace_back(path, buffer); });
    return result;
}

template <class T> std::vector<Named<ConstBufferPointer<T>>> Module<T>::named_buffers() const {
    check_names(*this);
    std::vector<Named<ConstBufferPointer<T>>> result;
    each_buffer(*this, [&](const std::string& path, const auto* buffer) { result.emplace_back(path, buffer); });
    return result;
}

template <class T> std::vector<Named<Module<T>*>> Module<T>::named_modules() {
    std::vector<Named<Module*>> result;
    each_module(*this, [&](const std::string& path, Module* module) { result.emplace_back(path, module); });
    return result;
}

template <class T> std::vector<Named<const Module<T>*>> Module<T>::named_modules() const {
    std::vector<Named<const Module*>> result;
    each_module(*this, [&](const std::string& path, const Module* module) { result.emplace_back(path, module); });
    return result;
}

template <class T> std::size_t Module<T>::parameter_count(bool all) const {
    std::size_t count = 0;
    each_parameter(*this, [&](const std::string&, const Variable<T>& parameter) {
        if (all || parameter.requires_grad()) count += parameter.size();
    });
    return count;
}

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
