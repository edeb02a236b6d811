// Layers one after the other.
#pragma once

#include <concepts>
#include <memory>
#include <utility>
#include <vector>

#include <xgrad/nn/layer.hpp>

namespace xgrad::nn {

/// The composition of its layers, which it holds by value: ŷ = fₙ(… f₂(f₁(x))).
///
///     nn::Sequential net{nn::Linear(784, 256), nn::BatchNorm(256), nn::ReLU(), nn::Linear(256, 10)};
///
/// Its fields are named "0", "1", …; a Sequential may hold others. Assigning one writes its values into the layers that
/// are there, and throws Error unless types and shapes are the same; an empty Sequential takes over the layers. ReLU is
/// fused with a Linear or BatchNorm before it, unless either is watched, or of a class derived from these.
template <class T = float> class Sequential : public Layer<T> {
public:
    Sequential() = default;
    /// The layers, which are moved in, in their order.
    template <std::derived_from<Layer<T>>... Layers>
    requires(sizeof...(Layers) > 0 && !(sizeof...(Layers) == 1 && (std::same_as<Layers, Sequential> && ...)))
    explicit Sequential(Layers... layers) {
        layers_.reserve(sizeof...(layers));
        (add(std::move(layers)), ...);
    }

    /// Appends a layer.
    template <std::derived_from<Layer<T>> L> Sequential& add(L layer) {
        layers_.push_back(Held(std::move(layer)));
        return *this;
    }

    std::size_t size() const noexcept { return layers_.size(); }
    /// The layer at a place. Throws Error when there is none.
    Layer<T>& operator[](std::size_t place);
    const Layer<T>& operator[](std::size_t place) const;

    void fields(Fields<T>& f) override;

protected:
    Variable<T> forward(const Variable<T>& x) override;

private:
    // A layer of any type, copied and assigned as the value that it is.
    class Held {
    public:
        template <std::derived_from<Layer<T>> L> explicit Held(L layer)
            : layer_(std::make_unique<L>(std::move(layer))),
              copy_([](const Layer<T>& from) -> std::unique_ptr<Layer<T>> {
                  return std::make_unique<L>(static_cast<const L&>(from));
              }),
              assign_([](Layer<T>& to, const Layer<T>& from) { static_cast<L&>(to) = static_cast<const L&>(from); }) {}
        Held(const Held& other) : layer_(other.copy_(*other.layer_)), copy_(other.copy_), assign_(other.assign_) {}
        Held(Held&&) noexcept = default;
        ~Held() = default;
        Held& operator=(const Held&) = delete;
        Held& operator=(Held&&) = delete;

        Layer<T>& operator*() const { return *layer_; }

        /// Whether the other is the same type of layer with parameters of the same shapes.
        bool matches(const Held& other) const;
        /// The layer stays where it is, so that its parameters keep their identity. Only for one that matches.
        void assign(const Held& other) { assign_(*layer_, *other.layer_); }

    private:
        std::unique_ptr<Layer<T>> layer_;
        std::unique_ptr<Layer<T>> (*copy_)(const Layer<T>&);
        void (*assign_)(Layer<T>&, const Layer<T>&);
    };

    // Assigning a list writes values into the layers that are there; an empty list takes the others' place.
    class List : public std::vector<Held> {
    public:
        List() = default;
        List(const List&) = default;
        List(List&&) noexcept = default;
        ~List() = default;
        /// Throws Error, with nothing changed, when the layers do not match.
        List& operator=(const List& other);
        List& operator=(List&& other);
    };

    List layers_;
};

template <class First, class... Rest> Sequential(First, Rest...) -> Sequential<typename First::value_type>;

extern template class Sequential<float>;
extern template class Sequential<double>;

}  // namespace xgrad::nn
