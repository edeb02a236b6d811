// Layers: modules with one input and one output.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <typeinfo>
#include <utility>
#include <vector>

#include <xgrad/autodiff/operations/matmul.hpp>
#include <xgrad/autodiff/tape.hpp>
#include <xgrad/nn/module.hpp>

namespace xgrad::nn {

template <class T> class Layer;

/// What can be hung on a layer: called after each forward, with the layer, its input and its output.
template <class T>
using ForwardHook = std::function<void(const Layer<T>& layer, const Variable<T>& input, const Variable<T>& output)>;

namespace detail {

/// Hooks belong to one object: a copy has none, and assigning values leaves them alone.
template <class T> class Hooks {
public:
    Hooks() = default;
    Hooks(const Hooks&) noexcept {}
    Hooks(Hooks&&) noexcept = default;
    Hooks& operator=(const Hooks&) noexcept { return *this; }
    Hooks& operator=(Hooks&&) noexcept { return *this; }
    ~Hooks() = default;

    std::size_t add(ForwardHook<T> hook);
    void remove(std::size_t id);
    bool empty() const noexcept { return !hooks_; }
    void call(const Layer<T>& layer, const Variable<T>& input, const Variable<T>& output) const;

private:
    using List = std::vector<std::pair<std::size_t, ForwardHook<T>>>;
    std::shared_ptr<const List> hooks_;  // none as long as there are no hooks
    std::size_t last_id_ = 0;
};

/// Whether a layer is of this very class, and of none derived from it, which may have a `forward` of its own: only then
/// may its neighbour be computed with it.
template <class L> bool is_exactly(const L& layer) noexcept { return typeid(layer) == typeid(L); }

}  // namespace detail

/// A module that maps one Variable to another, ŷ = F(x). A subclass defines `forward` (and `fields`); users call the
/// layer itself, which runs hooks and adds the layer's name to an Error (to no subclass of it).
template <class T = float> class Layer : public Module<T> {
public:
    /// The layer's output, recorded for backward.
    Variable<T> operator()(const Variable<T>& x);

    /// Inference: the output in evaluation mode, with no graph. Any number of threads may use one model at once.
    Variable<T> predict(const Variable<T>& x) const;
    /// The same into the caller's memory. Throws Error when the sizes differ.
    void predict(const Variable<T>& x, std::span<T> output) const;

    /// Calls a function after each forward of this layer, also those that `summary`, `probe` and
    /// layer_sequential_unit_variance make. Returns an id for `remove_hook`, which no other hook of this layer ever
    /// has.
    std::size_t on_forward(ForwardHook<T> hook) { return hooks_.add(std::move(hook)); }
    /// Takes a hook away again; an id that is not known is left alone.
    void remove_hook(std::size_t id) { hooks_.remove(id); }

    /// A table of the layers within, in the order in which an input of this shape passes them: name, kind, output shape
    /// and number of parameters. A layer that contains others has a row only for parameters not shown in rows above.
    std::string summary(const Shape& input_shape) const;

    /// For containers that fuse neighbours: which activation this layer is, if it is one.
    virtual Activation activation() const { return Activation::none; }
    /// The output of this layer followed by an activation layer: one operation where `forward_with` has one, unless
    /// either is watched.
    Variable<T> call_with(Layer& activation_layer, const Variable<T>& x);

protected:
    /// What a subclass computes, with operations on Variables.
    virtual Variable<T> forward(const Variable<T>& x) = 0;
    /// forward and an activation in one operation, or an empty Variable where there is none.
    virtual Variable<T> forward_with(Activation activation, const Variable<T>& x);

private:
    bool is_watched() const;

    detail::Hooks<T> hooks_;
};

/// While it lives, sees every call of every layer in its thread, with no change to a model: summaries, probes. It must
/// end on the thread on which it was made.
template <class T = float> class LayerWatcher {
public:
    LayerWatcher() noexcept : outer_(innermost_) { innermost_ = this; }
    virtual ~LayerWatcher() { xgrad::detail::unlink(innermost_, *this, &LayerWatcher::outer_); }
    LayerWatcher(const LayerWatcher&) = delete;
    LayerWatcher& operator=(const LayerWatcher&) = delete;

    /// Called after each layer, the inner ones before those around them.
    virtual void on_call(const Layer<T>& layer, const Variable<T>& input, const Variable<T>& output) = 0;

private:
    friend class Layer<T>;
    static inline constinit thread_local LayerWatcher* innermost_ = nullptr;

    LayerWatcher* outer_;
};

extern template class Layer<float>;
extern template class Layer<double>;

}  // namespace xgrad::nn
