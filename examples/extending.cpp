// The code of docs/extending.md: operations, modules and an optimizer of one's own. What the page says is asserted
// here.
#include <array>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "common/program.hpp"
#include <xgrad/xgrad.hpp>

using namespace xgrad;

namespace {

void claim(bool holds, const std::string& what) {
    if (!holds) throw std::logic_error("docs/extending.md says that " + what);
}

// [elementwise]
const auto huber = elementwise(
    [](auto error, auto delta) {
        const auto size = abs(error);
        return where(size < delta, 0.5 * square(error), delta * (size - 0.5 * delta));
    },
    "huber");
// [elementwise]

// [guarded]
// x·log x, and 0 where x = 0. The logarithm is computed there as well, and its argument guarded: derivatives of every
// order stay finite.
const auto x_log_x = elementwise([](auto x) { return where(x > 0, x * log(where(x > 0, x, 1)), 0); }, "x_log_x");
// [guarded]

// [single]
// Each row divided by its norm, y = x/‖x‖. Its vjp is (g − y·⟨g, y⟩)/‖x‖.
template <class T> Variable<T> unit(const Variable<T>& x) {
    const auto norm = [](const Variable<T>& rows) { return sqrt(sum(square(rows), -1, keep_dims)); };
    return record("unit", x.detach() / norm(x.detach()), wrt(x, [x, norm](const Variable<T>& g, const Variable<T>& y) {
                      return (g - y * sum(g * y, -1, keep_dims)) / norm(x);
                  }));
}
// [single]

// [joint]
// The distance of each row of a from that of b, d = ‖a − b‖. Both cotangents come from one product, ±g·(a − b)/d.
template <class T> Variable<T> distance(const Variable<T>& a, const Variable<T>& b) {
    if (a.shape() != b.shape() || a.dimension() != 2)
        throw Error("distance: the shapes are " + describe(a.shape()) + " and " + describe(b.shape()) +
                    "; expected two matrices of one shape");
    return record("distance", sqrt(sum(square(a.detach() - b.detach()), 1)),
                  wrt(std::tie(a, b), [a, b](const Variable<T>& g, const Variable<T>& d, const Needs& needs) {
                      const Variable<T> by_a = (a - b) * expand_dims(g / d, 1);
                      return std::array{by_a, needs[1] ? -by_a : Variable<T>()};
                  }));
}
// [joint]

// [many]
// Two results of one operation. A cotangent is empty where a result had no part in the loss.
template <class T> std::array<Variable<T>, 2> sine_and_cosine(const Variable<T>& x) {
    using Pair = std::array<Variable<T>, 2>;
    return record_many("sine_and_cosine", std::array{sin(x.detach()), cos(x.detach())},
                       wrt(x, [](const Pair& g, const Pair& y) {
                           Variable<T> cotangent;
                           if (g[0]) cotangent = g[0] * y[1];
                           if (g[1]) cotangent = cotangent ? cotangent - g[1] * y[0] : -(g[1] * y[0]);
                           return cotangent;
                       }));
}
// [many]

void operations() {
    // [gradcheck]
    const Variable<double> a = {{0.5, -1.2, 2.0}, {1.5, 0.3, -0.7}}, b = {{1.0, 0.1, -2.0}, {0.2, 0.9, 1.1}};
    gradcheck([](const auto& x, const auto& delta) { return huber(x, delta); }, {a, Variable<double>(1.0)});
    gradcheck([](const auto& x) { return unit(x); }, {a});
    gradcheck([](const auto& x, const auto& y) { return distance(x, y); }, {a, b});
    gradcheck([](const auto& x) { return sine_and_cosine(x); }, {a});
    // [gradcheck]
    gradcheck([](const auto& x) { return x_log_x(x); }, {Variable<double>{0.2, 1, 3}});

    Variable<> zero = {0, 1};
    zero.requires_grad(true);
    const Variable<> y = x_log_x(zero);
    const Variable<> first = grad(sum(y), zero, {.create_graph = true}), second = grad(sum(first), zero);
    claim(y.value() == Array<>{0, 0} && first.value()(0) == 0 && second.value() == Array<>{0, 1},
          "the guarded formula has finite derivatives at 0");
    claim(huber(Variable<>{0.5, 3}, 1).value() == Array<>{0.125, 2.5}, "numbers may stand beside Variables");
    claim(distance(Variable<>{{3, 4}}, Variable<>{{0, 0}}).item() == 5, "3, 4 is 5 away from the origin");
}

// [layer]
// Two layers and a way around them, y = x + s·f(x), where the strength s is trained as well.
class Residual : public nn::Layer<> {
public:
    Residual(std::size_t width, std::size_t depth) : strength_(Variable<>(0.1f)) {
        for (std::size_t i = 0; i < depth; ++i) inner_.emplace_back(width, width);
    }

    void fields(nn::Fields<>& f) override { f("strength", strength_)("inner", inner_); }
    std::string description() const override { return fmt::format("Residual of {} layers", inner_.size()); }

protected:
    Variable<> forward(const Variable<>& x) override {
        Variable<> h = x;
        for (nn::Linear<>& layer : inner_) h = tanh(layer(h));
        return x + strength_ * h;
    }

private:
    Parameter<> strength_;
    std::vector<nn::Linear<>> inner_;
};
// [layer]

// [module]
// Two inputs make it a Module, with the call operator that it likes: which of two points is nearer to which?
class Similarity : public nn::Module<> {
public:
    Similarity(std::size_t in, std::size_t size) : embed_(in, size), largest_(Shape{}, 0.f) {}

    void fields(nn::Fields<>& f) override { f("embed", embed_)("largest", largest_); }

    Variable<> operator()(const Variable<>& a, const Variable<>& b) {
        const Variable<> d = distance(embed_(a), embed_(b));
        if (training()) largest_() = std::max(largest_(), max(d).item());  // a buffer: saved, but not trained
        return d;
    }
    float largest() const { return largest_(); }

private:
    nn::Linear<> embed_;
    Array<> largest_;
};
// [module]

void modules() {
    Residual block(4, 2);
    std::string names;
    for (const auto& [name, parameter] : block.named_parameters()) names += name + " ";
    claim(names == "strength inner.0.weight inner.0.bias inner.1.weight inner.1.bias ",
          "a vector's fields are numbered");

    Similarity similarity(3, 2);
    claim(similarity.named_buffers().size() == 1, "an Array is a buffer");
    const Variable<> a = {{1, 2, 3}}, b = {{3, 2, 1}};
    similarity.eval();
    similarity(a, b);
    claim(similarity.largest() == 0, "the buffer stays as it is in evaluation mode");
    similarity.train();
    const float d = similarity(a, b).item();
    claim(similarity.largest() == d && d > 0, "the buffer follows in training mode");

    // [gradcheck_module]
    nn::Linear<double> layer(3, 2);
    const Variable<double> x = {{0.5, -1.2, 2.0}};
    gradcheck([&] { return tanh(layer(x)); }, layer.parameters());
    // [gradcheck_module]
}

// [optimizer]
// Lion (Chen et al. 2023): a step of fixed size in the direction of a momentum's sign.
class Lion : public optim::Optimizer<> {
public:
    explicit Lion(std::vector<Variable<>> parameters, optim::Schedule learning_rate = 1e-4, double weight_decay = 0)
        : Optimizer(std::move(parameters), {.learning_rate = learning_rate, .weight_decay = weight_decay},
                    {"momentum"}) {}

protected:
    void update(Variable<>& parameter, const Array<>& gradient, optim::State<>& state) override {
        const double rate = state.learning_rate, decay = state.weight_decay;
        const auto step = [=](auto& p, auto& m, auto g) {
            p -= rate * (sign(0.9 * m + 0.1 * g) + decay * p);
            m = 0.99 * m + 0.01 * g;
        };
        parameter.update(step, state[0], gradient);
    }
};
// [optimizer]

void optimizers(int steps) {
    Variable<> x = {1, -2};
    x.requires_grad(true);
    Lion one({x}, 0.25);
    one.minimize(sum(square(x)));
    claim(x.value() == Array<>{0.75, -1.75}, "each step has the size of the learning rate");

    xgrad::seed(3);
    Generator generator(3);
    Array<> points(Shape{256, 2});
    generator.fill_normal(std::span(points.data(), points.size()));
    const Variable<> input(points);
    const Variable<> target = sum(square(input), 1, keep_dims);
    // [train]
    nn::Sequential model{nn::Linear(2, 16), Residual(16, 2), Residual(16, 2), nn::Linear(16, 1)};
    Lion optimizer(model.parameters(), optim::cosine(3e-3, steps));
    for (int step = 0; step < steps; ++step) optimizer.minimize(nn::mse_loss(model(input), target));
    // [train]
    const double variance_of_target = variance(target).item();
    const double error = nn::mse_loss(model.predict(input), target).item();
    fmt::print("error over variance {:.4f}\n", error / variance_of_target);

    const auto state = optimizer.state();
    claim(state[0].name == "step" && *std::get<std::int64_t*>(state[0].value) == steps, "the base counts the steps");
}

}  // namespace

int main(int argc, char** argv) {
    int steps = 600;
    Program program("Runs the code of docs/extending.md and checks what the page says about it.");
    program.option("--steps", steps, "steps of training with an optimizer of one's own");
    return program.run(argc, argv, [&] {
        operations();
        modules();
        optimizers(steps);
    });
}
