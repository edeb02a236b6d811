#include <algorithm>
#include <set>

#include <fmt/format.h>

#include <xgrad/autodiff/tape.hpp>
#include <xgrad/nn/instruments.hpp>
#include <xgrad/nn/layer.hpp>

namespace xgrad::nn {
namespace detail {

// The list is replaced rather than changed: a hook may add or remove hooks while it is called.

template <class T> std::size_t Hooks<T>::add(ForwardHook<T> hook) {
    List hooks = hooks_ ? *hooks_ : List();
    hooks.emplace_back(++last_id_, std::move(hook));
    hooks_ = std::make_shared<const List>(std::move(hooks));
    return last_id_;
}

template <class T> void Hooks<T>::remove(std::size_t id) {
    if (!hooks_) return;
    List hooks = *hooks_;
    std::erase_if(hooks, [id](const auto& hook) { return hook.first == id; });
    hooks_ = hooks.empty() ? nullptr : std::make_shared<const List>(std::move(hooks));
}

template <class T>
void Hooks<T>::call(const Layer<T>& layer, const Variable<T>& input, const Variable<T>& output) const {
    if (const auto hooks = hooks_)
        for (const auto& [id, hook] : *hooks) hook(layer, input, output);
}

}  // namespace detail

namespace {

// An Error that already says in which layer it arose.
class LayerError : public Error {
    using Error::Error;
};

// The layers that are being called in this thread. Their names are looked up only when one is needed.
template <class T> class Call {
public:
    explicit Call(const Layer<T>& layer) : outer_(innermost_), layer_(&layer) { innermost_ = this; }
    ~Call() { innermost_ = outer_; }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

    /// Where the innermost layer is within the outermost.
    static std::string path() {
        const Call* root = innermost_;
        while (root->outer_) root = root->outer_;
        for (const auto& [name, module] : root->layer_->named_modules())
            if (module == innermost_->layer_) return name;
        return "";
    }

private:
    static inline constinit thread_local Call* innermost_ = nullptr;

    Call* outer_;
    const Layer<T>* layer_;
};

template <class T, class Forward> Variable<T> call_named(const Layer<T>& layer, Forward forward) {
    const Call<T> call(layer);
    try {
        return forward();
    } catch (const Error& error) {
        if (typeid(error) != typeid(Error)) throw;  // a LayerError, or a user's own
        const std::string path = Call<T>::path();
        throw LayerError(
            fmt::format("{} (in {}{}{})", error.what(), path, path.empty() ? "" : ": ", layer.description()));
    }
}

}  // namespace

template <class T> bool Layer<T>::is_watched() const {
    return (LayerWatcher<T>::innermost_ || !hooks_.empty()) && !detail::Unwatched::active();
}

template <class T> Variable<T> Layer<T>::operator()(const Variable<T>& x) {
    Variable<T> output = call_named(*this, [&] { return forward(x); });
    if (is_watched()) {
        hooks_.call(*this, x, output);
        for (auto* watcher = LayerWatcher<T>::innermost_; watcher; watcher = watcher->outer_)
            watcher->on_call(*this, x, output);
    }
    return output;
}

template <class T> Variable<T> Layer<T>::call_with(Layer& activation_layer, const Variable<T>& x) {
    if (!is_watched() && !activation_layer.is_watched()) {
        Variable<T> y = call_named(*this, [&] { return forward_with(activation_layer.activation(), x); });
        if (y.defined()) return y;
    }
    return activation_layer((*this)(x));
}

template <class T> Variable<T> Layer<T>::forward_with(Activation, const Variable<T>&) { return {}; }

template <class T> Variable<T> Layer<T>::predict(const Variable<T>& x) const {
    const NoGrad no_grad;
    const EvalMode eval_mode;
    return const_cast<Layer&>(*this)(x);  // in evaluation mode a forward changes nothing
}

template <class T> void Layer<T>::predict(const Variable<T>& x, std::span<T> output) const {
    const Variable<T> result = predict(x);
    if (result.size() != output.size())
        throw Error(fmt::format("predict: the output has shape {}; the caller's memory holds {} numbers",
                                describe(result.shape()), output.size()));
    std::copy_n(result.value().data(), output.size(), output.data());
}

template <class T> std::string Layer<T>::summary(const Shape& input_shape) const {
    struct Watcher : LayerWatcher<T> {
        std::vector<std::pair<const Layer*, Shape>> calls;
        void on_call(const Layer& layer, const Variable<T>&, const Variable<T>& output) override {
            calls.emplace_back(&layer, output.shape());
        }
    } watcher;
    predict(full(input_shape, T{0}));

    std::vector<std::vector<std::string>> rows{{"name", "layer", "output", "parameters"}};
    const detail::LayerNames<T> names(*this);
    std::set<const void*> counted;
    for (const auto& [layer, shape] : watcher.calls) {
        const std::string* const found = names.find(*layer);
        const std::string name = found ? *found : "";
        const bool has_rows_within = layer->named_modules().size() > 1;
        std::size_t count = 0;
        for (const Variable<T>& parameter : layer->parameters())
            if (counted.insert(parameter.node()).second) count += parameter.size();
        // A layer around others has a row only for what no row within it has shown.
        if (has_rows_within ? count > 0 : layer != this)
            rows.push_back({name, layer->description(), describe(shape), std::to_string(count)});
        if (layer == this)
            rows.push_back({"", "total", describe(shape), std::to_string(layer->parameter_count(true))});
    }
    return detail::table(rows, 3);
}

template class detail::Hooks<float>;
template class detail::Hooks<double>;
template class Layer<float>;
template class Layer<double>;

}  // namespace xgrad::nn
