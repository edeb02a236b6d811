// Modules: what has parameters, buffers and other modules as members, and lists them once.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <xgrad/autodiff/parameter.hpp>

namespace xgrad::nn {

template <class T> class Module;

namespace detail {

template <class T, class X>
inline constexpr bool is_listable = std::same_as<X, Parameter<T>> || std::same_as<X, Array<T>> ||
                                    std::same_as<X, Array<std::int64_t>> || std::derived_from<X, Module<T>>;
template <class T, class X> inline constexpr bool is_listable<T, std::optional<X>> = is_listable<T, X>;
template <class T, class X> inline constexpr bool is_listable<T, std::vector<X>> = is_listable<T, X>;
template <class T, class X, std::size_t N>
inline constexpr bool is_listable<T, std::array<X, N>> = is_listable<T, X>;

}  // namespace detail

/// Something with its name, as in "0.weight".
template <class X> using Named = std::pair<std::string, X>;

/// A buffer of either kind.
template <class T> using BufferPointer = std::variant<Array<T>*, Array<std::int64_t>*>;
template <class T> using ConstBufferPointer = std::variant<const Array<T>*, const Array<std::int64_t>*>;

/// The list that a module's `fields` fills: it names each member once.
///
///     void fields(nn::Fields<>& f) override { f("hidden", hidden_)("norm", norm_)("output", output_); }
///
/// Besides modules, members are of three kinds. A Parameter is trained and saved. A buffer (an Array) is saved but not
/// trained: a statistic. Everything else is a setting, which is not listed: the program that makes the module states
/// it. Vectors, arrays and optionals of parameters, buffers and modules are listed as they are. Names of parameters and
/// buffers must differ.
template <class T = float> class Fields {
public:
    /// Whether a member of this type can be listed.
    template <class X> static constexpr bool is_listable = detail::is_listable<T, X>;

    /// Lists a member, and gives itself for the next one.
    Fields& operator()(std::string_view name, Parameter<T>& parameter);
    Fields& operator()(std::string_view name, Array<T>& buffer);
    Fields& operator()(std::string_view name, Array<std::int64_t>& buffer);
    Fields& operator()(std::string_view name, Module<T>& module);
    template <class X>
        requires(is_listable<X>)
    Fields& operator()(std::string_view name, std::optional<X>& field) {
        return field ? (*this)(name, *field) : *this;
    }
    template <class X>
        requires(is_listable<X>)
    Fields& operator()(std::string_view name, std::vector<X>& list) {
        return each(name, list);
    }
    template <class X, std::size_t N>
        requires(is_listable<X>)
    Fields& operator()(std::string_view name, std::array<X, N>& list) {
        return each(name, list);
    }
    // What is no parameter, buffer or module of this precision, nor a list of these, cannot be listed: leave out
    // settings.
    template <class X>
        requires(!is_listable<X>)
    Fields& operator()(std::string_view name, X& setting) = delete;

private:
    friend class Module<T>;

    Fields() = default;

    template <class List> Fields& each(std::string_view name, List& list) {
        for (std::size_t i = 0; i < list.size(); ++i) (*this)(std::string(name) + "." + std::to_string(i), list[i]);
        return *this;
    }
    std::string path_of(std::string_view name) const;

    std::string path_;  // of the module whose fields are being listed
    // What was listed; a name is that of the field with those of the modules around it, as in "hidden.weight".
    std::vector<Named<Variable<T>>> parameters_;
    std::vector<Named<BufferPointer<T>>> buffers_;
    std::vector<Named<Module<T>*>> modules_;
};

/// A part of a network: parameters θ, buffers, other modules, and some call operator that computes with them. A module
/// is a value: a copy is a deep copy, and `model = best` restores values in place, so that optimizers stay right. Only
/// where a vector among the members takes over the elements of a temporary, as in `model = Model(…)`, the parameters
/// are new objects, and the next step of an optimizer made before throws Error.
///
/// Derive from Layer instead for one input and one output.
template <class T = float> class Module {
public:
    using value_type = T;

    virtual ~Module() = default;

    /// Lists the members; see Fields. A module that has none need not override it.
    virtual void fields(Fields<T>& f) { (void)f; }

    /// Handles to all parameters, frozen ones too, in the order of the fields.
    std::vector<Variable<T>> parameters() const;
    /// The same with their names; only those that the pattern matches, when one is given. In a pattern `*` stands for
    /// any characters, also none: "*.weight", "encoder.*". As named_buffers, throws Error when two fields have one
    /// name.
    std::vector<Named<Variable<T>>> named_parameters(std::string_view pattern = "*") const;
    /// Pointers to all buffers with their names; good as long as the module.
    std::vector<Named<BufferPointer<T>>> named_buffers();
    std::vector<Named<ConstBufferPointer<T>>> named_buffers() const;
    /// This module, with the name "", and all within it.
    std::vector<Named<Module*>> named_modules();
    std::vector<Named<const Module*>> named_modules() const;

    /// How many numbers are trained; with `all`, those in frozen parameters too.
    std::size_t parameter_count(bool all = false) const;

    /// Stops training the parameters that the pattern matches, and returns how many. Throws Error when there is none.
    std::size_t freeze(std::string_view pattern = "*");
    /// Trains them again.
    std::size_t unfreeze(std::string_view pattern = "*");

    /// Removes the gradients of all parameters.
    void zero_grad();

    /// Training or evaluation mode of this module and all within it: BatchNorm and Dropout behave differently in them.
    void train(bool training = true);
    void eval() { train(false); }
    /// Whether it is in training mode, and no EvalMode is alive in this thread.
    bool training() const;

    /// The module's type with its settings, as in "Linear(784, 256)".
    virtual std::string description() const;

protected:
    Module() = default;
    Module(const Module&) = default;
    Module(Module&&) = default;
    // Assigning restores values; the mode is that of whoever is assigned to.
    Module& operator=(const Module&) noexcept { return *this; }
    Module& operator=(Module&&) noexcept { return *this; }

private:
    // Asks for the fields, which changes no value; what may be changed is handed on only to those who may change the
    // module.
    Fields<T> listed() const;
    Fields<T> listed_by_name() const;

    bool training_ = true;
};

/// While it lives, every module behaves in this thread as in evaluation mode. No module is changed, so that a const
/// model can serve many threads.
class EvalMode {
public:
    EvalMode() noexcept { ++depth_; }
    ~EvalMode() { --depth_; }
    EvalMode(const EvalMode&) = delete;
    EvalMode& operator=(const EvalMode&) = delete;

    static bool active() noexcept { return depth_ > 0; }

private:
    static inline constinit thread_local int depth_ = 0;
};

/// Whether a name matches a pattern in which `*` stands for any characters.
bool matches(std::string_view name, std::string_view pattern);

extern template class Fields<float>;
extern template class Fields<double>;
extern template class Module<float>;
extern template class Module<double>;

}  // namespace xgrad::nn
