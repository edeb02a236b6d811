// Modules as lists of fields and as values.
#include <array>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "message.hpp"
#include "random.hpp"
#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/tape.hpp>
#include <xgrad/nn.hpp>

using namespace xgrad;
using xgrad::testing::message;
using xgrad::testing::random;

namespace {

// One of each that a module may list.
class Network : public nn::Layer<double> {
public:
    explicit Network(bool with_shortcut = true)
        : scale_(Variable<double>(full(Shape{3}, 1.0))), count_(full(Shape{}, std::int64_t{4})) {
        if (with_shortcut) shortcut_.emplace(3, 3, nn::LinearOptions{.bias = false});
        for (std::size_t i = 0; i < 2; ++i) branches_.emplace_back(3, 3);
        for (Parameter<double>& shift : shifts_) shift = random({3});
    }
    void fields(nn::Fields<double>& f) override {
        f("norm", norm_)("shortcut", shortcut_)("branches", branches_)("shifts", shifts_);
        f("scale", scale_)("bias", bias_)("count", count_)("tail", tail_);
    }

    nn::BatchNorm<double> norm_{3};
    std::optional<nn::Linear<double>> shortcut_;
    std::vector<nn::Linear<double>> branches_;
    std::array<Parameter<double>, 2> shifts_;
    Parameter<double> scale_;
    Parameter<double> bias_;  // empty: not listed
    Array<std::int64_t> count_;
    nn::Sequential<double> tail_{nn::Linear<double>(3, 2), nn::ReLU<double>()};

protected:
    Variable<double> forward(const Variable<double>& x) override {
        Variable<double> h = norm_(x);
        if (shortcut_) h += (*shortcut_)(x);
        for (nn::Linear<double>& branch : branches_) h += branch(x);
        for (const Parameter<double>& shift : shifts_) h += shift;
        return tail_(h * scale_);
    }
};

template <class Things> std::vector<std::string> names(const Things& things) {
    std::vector<std::string> result;
    for (const auto& [name, thing] : things) result.push_back(name);
    return result;
}

bool same(const Variable<double>& a, const Variable<double>& b) {
    return a.shape() == b.shape() && std::equal(a.value().begin(), a.value().end(), b.value().begin());
}

// Moves all parameters and buffers of a network by one training step.
void train_a_little(Network& network) {
    network.zero_grad();
    sum(square(network(random({5, 3}, 1)))).backward();
    for (Variable<double>& parameter : network.parameters())
        if (parameter.grad().defined()) parameter.assign((parameter - 0.1 * parameter.grad()).detach());
    network.zero_grad();
}

template <class X> concept Listable = nn::Fields<float>::is_listable<X>;

}  // namespace

TEST_CASE("A module lists parameters, buffers and modules, and nothing else compiles", "[nn][module]") {
    STATIC_REQUIRE(Listable<Parameter<float>>);
    STATIC_REQUIRE(Listable<Array<float>>);
    STATIC_REQUIRE(Listable<Array<std::int64_t>>);
    STATIC_REQUIRE(Listable<nn::Linear<float>>);
    STATIC_REQUIRE(Listable<std::optional<nn::Linear<float>>>);
    STATIC_REQUIRE(Listable<std::vector<Parameter<float>>>);
    STATIC_REQUIRE(Listable<std::array<std::optional<nn::Linear<float>>, 2>>);
    STATIC_REQUIRE_FALSE(Listable<int>);
    STATIC_REQUIRE_FALSE(Listable<double>);
    STATIC_REQUIRE_FALSE(Listable<std::string>);
    STATIC_REQUIRE_FALSE(Listable<Variable<float>>);    // neither trained nor saved: make it a Parameter or an Array
    STATIC_REQUIRE_FALSE(Listable<Parameter<double>>);  // of another precision
    STATIC_REQUIRE_FALSE(Listable<nn::Linear<double>>);
    STATIC_REQUIRE_FALSE(Listable<std::vector<int>>);
    STATIC_REQUIRE_FALSE(Listable<std::optional<float>>);
}

TEST_CASE("Names tell the way to each parameter and buffer", "[nn][module]") {
    Network network;
    REQUIRE(names(network.named_parameters()) ==
            std::vector<std::string>{"norm.weight", "norm.bias", "shortcut.weight", "branches.0.weight",
                                     "branches.0.bias", "branches.1.weight", "branches.1.bias", "shifts.0", "shifts.1",
                                     "scale", "tail.0.weight", "tail.0.bias"});
    REQUIRE(names(network.named_buffers()) ==
            std::vector<std::string>{"norm.running_mean", "norm.running_var", "norm.num_batches_tracked", "count"});
    REQUIRE(names(network.named_modules()) ==
            std::vector<std::string>{"", "norm", "shortcut", "branches.0", "branches.1", "tail", "tail.0", "tail.1"});
    REQUIRE(network.parameters().size() == 12);
    REQUIRE(names(Network(false).named_parameters("shortcut*")).empty());
}

TEST_CASE("A name that is given twice is refused where names count", "[nn][module]") {
    struct Twins : nn::Module<> {
        nn::Linear<> a{2, 3}, b{3, 2};
        void fields(nn::Fields<>& f) override { f("a", a)("a", b); }
    } twins;
    CHECK(message([&] { twins.named_parameters(); }) == "fields: 'a.bias' is listed twice; names must differ");
    CHECK(twins.parameters().size() == 4);
    twins.eval();  // for which names do not count
    CHECK_FALSE(twins.a.training());

    struct Mixed : nn::Layer<> {
        Parameter<> weight{Shape{3}};
        Array<> statistic = full(Shape{3}, 0.f);
        void fields(nn::Fields<>& f) override { f("x", weight)("x", statistic); }
        Variable<> forward(const Variable<>& x) override { return x + weight; }
    } mixed;
    CHECK(message([&] { mixed.named_parameters(); }) == "fields: 'x' is listed twice; names must differ");
    CHECK(message([&] { mixed.named_buffers(); }) == "fields: 'x' is listed twice; names must differ");
    CHECK(message([&] { std::as_const(mixed).named_buffers(); }).find("twice") != std::string::npos);
    CHECK(message([&] { mixed(full(Shape{4}, 1.f)); }).find("do not broadcast") != std::string::npos);
}

TEST_CASE("Names of a model are PyTorch's", "[nn][module]") {
    const nn::Sequential model{nn::Linear(4, 3, {.bias = false}), nn::BatchNorm(3), nn::PReLU(),
                               nn::Sequential{nn::LayerNorm(3), nn::Linear(3, 2)}};
    REQUIRE(names(model.named_parameters()) == std::vector<std::string>{"0.weight", "1.weight", "1.bias", "2.weight",
                                                                        "3.0.weight", "3.0.bias", "3.1.weight",
                                                                        "3.1.bias"});
    REQUIRE(names(model.named_buffers()) ==
            std::vector<std::string>{"1.running_mean", "1.running_var", "1.num_batches_tracked"});
    REQUIRE(model.named_parameters("3.1.weight")[0].second.shape() == Shape{2, 3});
    REQUIRE(names(nn::Embedding(5, 2).named_parameters()) == std::vector<std::string>{"weight"});
}

TEST_CASE("A const model can be looked at, not changed", "[nn][module]") {
    const Network network;
    REQUIRE(network.named_parameters().size() == 12);
    const auto buffers = network.named_buffers();
    REQUIRE(std::get<const Array<double>*>(buffers[0].second) == &network.norm_.running_mean());
    const auto modules = network.named_modules();
    REQUIRE(modules[0].second == &network);
    STATIC_REQUIRE(std::same_as<decltype(network.named_modules()), std::vector<nn::Named<const nn::Module<double>*>>>);
}

TEST_CASE("Parameters are counted, frozen ones only when asked", "[nn][module]") {
    Network network;
    const std::size_t all = 2 * 3 + 9 + 2 * 12 + 2 * 3 + 3 + 8;
    REQUIRE(network.parameter_count() == all);
    REQUIRE(network.freeze("branches.*") == 4);
    REQUIRE(network.parameter_count() == all - 24);
    REQUIRE(network.parameter_count(true) == all);
}

TEST_CASE("Frozen parameters get no gradient until they are unfrozen", "[nn][module]") {
    Network network;
    network.freeze();
    REQUIRE(network.unfreeze("*.bias") == 4);
    sum(network(random({4, 3}))).backward();
    for (const auto& [name, parameter] : network.named_parameters()) {
        INFO(name);
        REQUIRE(parameter.grad().defined() == name.ends_with(".bias"));
    }
    network.zero_grad();
    for (const auto& parameter : network.parameters()) REQUIRE_FALSE(parameter.grad().defined());
    REQUIRE(message([&] { network.freeze("branch.*"); }) == "freeze: no parameter's name matches 'branch.*'");
    REQUIRE_THROWS_AS(network.unfreeze("weight"), Error);
}

TEST_CASE("A pattern's star stands for any characters, also none", "[nn][module]") {
    CHECK(nn::matches("encoder.0.weight", "encoder.*"));
    CHECK(nn::matches("encoder.0.weight", "*.weight"));
    CHECK(nn::matches("encoder.0.weight", "e*0*t"));
    CHECK(nn::matches("encoder.0.weight", "encoder.0.weight*"));
    CHECK(nn::matches("", "*"));
    CHECK(nn::matches("aab", "*ab"));
    CHECK_FALSE(nn::matches("encoder.0.weight", "encoder"));
    CHECK_FALSE(nn::matches("encoder.0.weight", "*.bias"));
    CHECK_FALSE(nn::matches("", "?"));
}

TEST_CASE("train and eval reach all modules within", "[nn][module]") {
    Network network;
    const auto all_train = [&](bool training) {
        for (const auto& [name, module] : network.named_modules())
            if (module->training() != training) return false;
        return true;
    };
    REQUIRE(all_train(true));
    network.eval();
    REQUIRE(all_train(false));
    network.train();
    REQUIRE(all_train(true));
    network.tail_.eval();
    REQUIRE(network.training());
    REQUIRE_FALSE(network.tail_[0].training());
}

TEST_CASE("EvalMode holds for its thread only, and nests", "[nn][module]") {
    const Network network;
    {
        const nn::EvalMode outer;
        {
            const nn::EvalMode inner;
            REQUIRE_FALSE(network.training());
        }
        REQUIRE_FALSE(network.training());
        bool elsewhere = false;
        std::thread([&] { elsewhere = network.training(); }).join();
        REQUIRE(elsewhere);
    }
    REQUIRE(network.training());
}

TEST_CASE("A copy of a module is deep, with default members", "[nn][module]") {
    Network network;
    const Network before = network;
    train_a_little(network);
    const auto now = network.parameters(), old = before.parameters();
    REQUIRE(now.size() == old.size());
    for (std::size_t i = 0; i < now.size(); ++i) {
        INFO(network.named_parameters()[i].first);
        REQUIRE(now[i].node() != old[i].node());
        REQUIRE_FALSE(same(now[i], old[i]));
        REQUIRE(old[i].requires_grad());
    }
    REQUIRE(before.norm_.num_batches_tracked() == 0);
    REQUIRE(network.norm_.num_batches_tracked() == 1);
    network.eval();
    REQUIRE_FALSE(Network(network).training());
}

TEST_CASE("A copy of a frozen parameter is frozen", "[nn][module]") {
    Network network;
    network.freeze("scale");
    REQUIRE(Network(network).parameter_count() == network.parameter_count());
}

TEST_CASE("Assigning a module restores values and keeps handles valid", "[nn][module]") {
    Network network;
    const Network best = network;
    const auto handles = network.parameters();
    const nn::Layer<double>* const first = &network.tail_[0];
    train_a_little(network);
    network = best;
    const auto parameters = network.parameters();
    for (std::size_t i = 0; i < handles.size(); ++i) {
        REQUIRE(parameters[i].node() == handles[i].node());
        REQUIRE(same(handles[i], best.parameters()[i]));
    }
    REQUIRE(network.norm_.num_batches_tracked() == 0);
    REQUIRE(&network.tail_[0] == first);
}

TEST_CASE("Assigning a module leaves the mode as it is", "[nn][module]") {
    Network network, best;
    best.eval();
    network = best;
    REQUIRE(network.training());
    REQUIRE(network.norm_.training());
    REQUIRE(network.tail_[0].training());
}

TEST_CASE("Assigning a temporary Sequential writes values as well", "[nn][module]") {
    const auto make = [] { return nn::Sequential<double>{nn::Linear<double>(3, 2), nn::Sigmoid<double>()}; };
    nn::Sequential<double> model = make();
    const auto handles = model.parameters();
    seed(1);
    model = make();
    seed(1);
    REQUIRE(same(handles[0], make().parameters()[0]));
    REQUIRE(handles[0].node() == model.parameters()[0].node());
}

TEST_CASE("Assigning what does not match changes nothing", "[nn][module]") {
    using Net = nn::Sequential<double>;
    Net model{nn::Linear<double>(3, 2), nn::Linear<double>(2, 2)};
    const Net before = model;
    const auto refused = [&](const Net& other) {
        const std::string text = message([&] { model = other; });
        REQUIRE(same(model.parameters()[0], before.parameters()[0]));
        return text;
    };
    CHECK(refused(Net{nn::Linear<double>(3, 2), nn::Linear<double>(2, 4)}) ==
          "Sequential: layer 1, Linear(2, 4), cannot be assigned to Linear(2, 2)");
    CHECK(refused(Net{nn::Linear<double>(3, 2), nn::Tanh<double>()}) ==
          "Sequential: layer 1, Tanh, cannot be assigned to Linear(2, 2)");
    CHECK(refused(Net{nn::Linear<double>(3, 2)}) == "Sequential: one of size 1 cannot be assigned to one of size 2");

    struct Block : nn::Layer<double> {  // its description says nothing of its size
        Block(std::size_t width, std::size_t depth) : inner(depth, nn::Linear<double>(width, width)) {}
        void fields(nn::Fields<double>& f) override { f("inner", inner); }
        std::string description() const override { return "Block"; }
        Variable<double> forward(const Variable<double>& x) override { return x; }
        std::vector<nn::Linear<double>> inner;
    };
    Net blocks{Block(2, 1)};
    CHECK(message([&] { blocks = Net{Block(3, 1)}; }) ==
          "Sequential: layer 0, Block, cannot be assigned to Block: inner.0.weight has the shape (3, 3), and (2, 2) "
          "there");
    CHECK(message([&] { blocks = Net{Block(2, 3)}; }) ==
          "Sequential: layer 0, Block, cannot be assigned to Block: it has 6 parameters, and 2 there");
    nn::BatchNorm<double> norm(3);
    REQUIRE_THROWS_AS(norm = nn::BatchNorm<double>(4), Error);
    REQUIRE(norm.description() == "BatchNorm(3)");
    REQUIRE(norm(random({4, 3})).shape() == Shape{4, 3});
}

TEST_CASE("A layer without a bias cannot be assigned to one with it", "[nn][module]") {
    nn::Linear<double> layer(3, 2);
    CHECK(
        message([&] { layer = nn::Linear<double>(3, 2, {.bias = false}); }) ==
        "assign: an empty Variable does not fit a parameter of shape (2,); a layer made without a bias, say, does not "
        "fit one with it");
}

TEST_CASE("A Sequential without layers takes over another's", "[nn][module]") {
    nn::Sequential<double> model, copy;
    nn::Sequential<double> made{nn::Linear<double>(3, 2)};
    const auto handles = made.parameters();
    copy = made;
    REQUIRE(copy.size() == 1);
    REQUIRE(copy.parameters()[0].node() != handles[0].node());
    model = std::move(made);
    REQUIRE(model.parameters()[0].node() == handles[0].node());
}

TEST_CASE("Moving a module keeps the identity of its parameters", "[nn][module]") {
    Network network;
    const auto handles = network.parameters();
    Network moved = std::move(network);
    const auto parameters = moved.parameters();
    REQUIRE(parameters.size() == handles.size());
    for (std::size_t i = 0; i < handles.size(); ++i) REQUIRE(parameters[i].node() == handles[i].node());
}

TEST_CASE("A parameter that is used but not listed is noticed", "[nn][module]") {
    class Forgetful : public nn::Layer<double> {
    public:
        void fields(nn::Fields<double>& f) override { f("listed", listed_); }
        Parameter<double> listed_{random({3})}, forgotten_{random({3, 1})};

    protected:
        Variable<double> forward(const Variable<double>& x) override { return x * listed_ * forgotten_; }
    };
    Forgetful module;
    (void)xgrad::detail::take_unlisted();
    const auto parameters = module.parameters();
    sum(module(random({3}))).backward();
    REQUIRE(xgrad::detail::take_unlisted() == "(3, 1)");
    REQUIRE(xgrad::detail::take_unlisted().empty());

    Network network;
    (void)network.parameters();
    sum(network(random({4, 3}))).backward();
    REQUIRE(xgrad::detail::take_unlisted().empty());
}
