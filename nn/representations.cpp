#include <fmt/format.h>

#include <xgrad/nn/instruments.hpp>
#include <xgrad/nn/representations.hpp>

namespace xgrad::nn {
namespace {

// Keeps what is asked for and nothing else: a large model needs no more memory than in `predict`. Copies, because an
// output may be the input's memory or a parameter's (Identity, Dropout, Flatten), or a part of something large.
template <class T> class Collector : public LayerWatcher<T> {
public:
    Collector(const Layer<T>& model, std::string_view pattern) : names_(model), pattern_(pattern) {}

    void on_call(const Layer<T>& layer, const Variable<T>&, const Variable<T>& output) override {
        const std::string* const name = names_.find(layer);
        if (name && matches(*name, pattern_)) found.emplace_back(*name, output.value());
    }

    std::vector<Named<Array<T>>> found;

private:
    const detail::LayerNames<T> names_;
    const std::string_view pattern_;
};

}  // namespace

template <class T>
std::vector<Named<Array<T>>> representations(const Layer<T>& model, const std::type_identity_t<Variable<T>>& x,
                                             std::string_view pattern) {
    Collector<T> collector(model, pattern);
    model.predict(x);
    if (!collector.found.empty()) return std::move(collector.found);
    std::string names;
    bool is_part = false;
    for (const auto& [name, module] : model.named_modules()) {
        is_part = is_part || matches(name, pattern);
        if (!name.empty()) names += (names.empty() ? "" : ", ") + name;
    }
    if (is_part)
        throw Error(
            fmt::format("representations: '{}' is a part of the model, but no layer that its forward calls", pattern));
    throw Error(
        fmt::format("representations: no layer is named '{}'; there are {}", pattern, names.empty() ? "none" : names));
}

template std::vector<Named<Array<float>>> representations(const Layer<float>&, const Variable<float>&,
                                                          std::string_view);
template std::vector<Named<Array<double>>> representations(const Layer<double>&, const Variable<double>&,
                                                           std::string_view);

}  // namespace xgrad::nn
