#include <array>
#include <string>
#include <tuple>

#include "catch.hpp"
#include "random.hpp"
#include <xgrad/autodiff.hpp>
#include <xgrad/autodiff/gradcheck.hpp>

using namespace xgrad;
using xgrad::testing::random;

namespace {

// x² by a vjp of the user's own.
template <class Vjp> auto square_with(Vjp vjp) {
    return [vjp](const Variable<double>& x) {
        return record("square", Array<double>(x.value() * x.value()),
                      wrt(x, [vjp, x](const Variable<double>& g) { return vjp(g, x); }));
    };
}

const auto right = square_with([](const auto& g, const auto& x) { return 2 * x * g; });
const auto wrong = square_with([](const auto& g, const auto& x) { return 2.001 * x * g; });
const auto detached = square_with([](const auto& g, const auto& x) { return 2 * x.detach() * g; });
const auto cotangent_detached = square_with([](const auto& g, const auto& x) { return 2 * x * g.detach(); });

}  // namespace

TEST_CASE("gradcheck accepts operations whose derivatives are right", "[gradcheck]") {
    CHECK_NOTHROW(gradcheck(right, {random({2, 3})}));
    CHECK_NOTHROW(gradcheck([](auto& x, auto& y) { return matmul(x, y) / (1 + exp(-x)); },
                            {random({3, 3}, 1), random({3, 3}, 2)}));
    CHECK_NOTHROW(gradcheck([](auto& x) { return right(right(x)); }, {random({2})}, {.order = 4}));
}

TEST_CASE("gradcheck tells which input and entry has a wrong gradient, and both numbers", "[gradcheck]") {
    const Variable<double> x{{1, 2, 3}, {4, 5, 6}};
    CHECK_THROWS_WITH(gradcheck([](auto& a, auto& b) { return a * wrong(b); }, {random({2, 3}), x}),
                      ContainsSubstring("order 1: input 1 of shape (2, 3), entry (0, 0)") &&
                          ContainsSubstring("the gradient is") && ContainsSubstring("differences give"));

    // With a cotangent of 1 the two numbers are known.
    const auto scalar = [](const auto& a) { return wrong(a); };
    std::string message;
    try {
        gradcheck(scalar, {Variable<double>(3.0)});
    } catch (const Error& error) {
        message = error.what();
    }
    const double gradient = std::stod(message.substr(message.find("gradient is ") + 12));
    const double difference = std::stod(message.substr(message.find("differences give ") + 17));
    CHECK(gradient / difference == Approx(1.0005).epsilon(1e-7));
}

TEST_CASE("gradcheck finds a single wrong entry", "[gradcheck]") {
    const auto one_wrong = square_with([](const auto& g, const auto& x) {
        Array<double> factor = 2 * x.value();
        factor(1, 2) += 0.01;
        return g * Variable<double>(factor);
    });
    CHECK_THROWS_WITH(gradcheck(one_wrong, {random({2, 3})}, {.order = 1}),
                      ContainsSubstring("order 1: input 0") && ContainsSubstring("entry (1, 2)"));
    CHECK_THROWS_WITH(gradcheck(one_wrong, {random({20, 30})}, {.order = 1}),
                      ContainsSubstring("order 1: input 0 of shape (20, 30), along random direction 0"));
}

TEST_CASE("gradcheck finds a vjp that is right but cannot be differentiated again", "[gradcheck]") {
    CHECK_NOTHROW(gradcheck(detached, {random({3})}, {.order = 1}));
    CHECK_THROWS_WITH(gradcheck(detached, {random({3})}),
                      ContainsSubstring("order 2: input 0 of shape (3,), entry (0,)"));
    CHECK_THROWS_WITH(gradcheck(detached, {random({100})}),
                      ContainsSubstring("order 2: input 0 of shape (100,), along random direction 0"));
    CHECK_NOTHROW(gradcheck(cotangent_detached, {random({3})}, {.order = 1}));
    CHECK_THROWS_WITH(gradcheck(cotangent_detached, {random({3})}),
                      ContainsSubstring("order 2: the cotangent of output 0 of shape (3,)"));
}

TEST_CASE("gradcheck finds an error of third order only when it is asked to", "[gradcheck]") {
    const auto cube = [](const auto& x) {
        return record("cube", Array<double>(x.value() * x.value() * x.value()), wrt(x, [x](const Variable<double>& g) {
                          const Variable<double> at = x.detach();
                          return 3 * g *
                                 (square(at) + 2 * at * (x - at));  // the second derivative is right, but constant
                      }));
    };
    CHECK_NOTHROW(gradcheck(cube, {random({2})}));
    CHECK_THROWS_WITH(gradcheck(cube, {random({2})}, {.order = 3}),
                      ContainsSubstring("order 3: input 0 of shape (2,)"));
}

TEST_CASE("gradcheck finds a recorded gradient that differs from the ordinary one", "[gradcheck]") {
    const auto two_ways =
        square_with([](const auto& g, const auto& x) { return Tape::current().recording() ? 3 * x * g : 2 * x * g; });
    CHECK_NOTHROW(gradcheck(two_ways, {random({3})}, {.order = 1}));
    CHECK_THROWS_WITH(gradcheck(two_ways, {random({3})}),
                      ContainsSubstring("order 1: input 0 of shape (3,), entry (0,)") &&
                          ContainsSubstring("recorded with create_graph"));
}

TEST_CASE("gradcheck takes functions with several outputs", "[gradcheck]") {
    const auto x = random({2, 3}, 1), y = random({3}, 2);
    CHECK_NOTHROW(gradcheck([](auto& a, auto& b) { return std::tuple(a * b, sum(b)); }, {x, y}));
    CHECK_NOTHROW(gradcheck([](auto& a, auto& b) { return std::array{a + b, a * a}; }, {x, y}));
    CHECK_NOTHROW(gradcheck([](auto& a) { return split(a, 3, 1); }, {x}));
    CHECK_THROWS_WITH(gradcheck([](auto& a, auto& b) { return std::pair(a * a, wrong(b)); }, {x, y}),
                      ContainsSubstring("input 1"));
    // An output may depend on some inputs only, on none, or be an input.
    CHECK_NOTHROW(gradcheck([](auto& a, auto& b) { return std::tuple(square(b), Variable<double>(1), a); }, {x, y}));
}

TEST_CASE("gradcheck takes inputs whose number is known at run time only", "[gradcheck]") {
    const std::vector<Variable<double>> parts{random({1, 2}, 1), random({3, 2}, 2), random({2, 2}, 3)};
    CHECK_NOTHROW(gradcheck([](const std::vector<Variable<double>>& x) { return square(concatenate(x)); }, parts));
    CHECK_THROWS_WITH(gradcheck([](const std::vector<Variable<double>>& x) { return x[0] * sum(wrong(x[2])); }, parts),
                      ContainsSubstring("input 2"));
}

TEST_CASE("gradcheck moves the parameters that a function of no arguments reads", "[gradcheck]") {
    const Variable<double> x = random({4, 3}, 1);
    std::vector<Variable<double>> parameters{random({2, 3}, 2), random({2}, 3)};
    parameters[0].requires_grad(true);
    const std::vector<Array<double>> before{parameters[0].value(), parameters[1].value()};
    CHECK_NOTHROW(gradcheck([&] { return tanh(linear(x, parameters[0], parameters[1])); }, parameters));
    CHECK_THROWS_WITH(gradcheck([&] { return linear(x, parameters[0], wrong(parameters[1])); }, parameters),
                      ContainsSubstring("order 1: input 1 of shape (2,)"));
    for (std::size_t i = 0; i < 2; ++i) {
        CHECK(parameters[i].value() == before[i]);
        CHECK_FALSE(parameters[i].grad().defined());
    }
    CHECK(parameters[0].requires_grad());
    CHECK_FALSE(parameters[1].requires_grad());
}

TEST_CASE("gradcheck leaves values, gradients and recorded graphs of its inputs alone", "[gradcheck]") {
    Variable<double> x = random({3});
    x.requires_grad(true);
    sum(x * x).backward();
    const Array<double> values = x.value(), gradient = x.grad().value();
    const Variable<double> y = sum(x * x * x);
    const std::size_t recorded = Tape::current().size();

    gradcheck(right, {x});
    CHECK_THROWS_AS(gradcheck(wrong, {x}), Error);
    gradcheck(right, {y});

    CHECK(x.value() == values);
    CHECK(x.grad().value() == gradient);
    CHECK(Tape::current().size() == recorded);
    CHECK_NOTHROW(y.backward());
}

TEST_CASE("gradcheck draws from a generator of its own", "[gradcheck]") {
    const Generator::State before = current_generator().state();
    gradcheck(right, {random({3})});
    CHECK(current_generator().state() == before);
}

TEST_CASE("gradcheck works under NoGrad, over no elements, and on a function that is constant", "[gradcheck]") {
    const NoGrad no_grad;
    CHECK_NOTHROW(gradcheck(right, {random({2})}));
    CHECK_THROWS_AS(gradcheck(wrong, {random({2})}), Error);
    CHECK_NOTHROW(gradcheck(right, {random({0, 3})}));
    CHECK_NOTHROW(gradcheck([](auto& x) { return sign(x); }, {random({2})}));
    CHECK_NOTHROW(gradcheck([](auto&) { return Variable<double>{1, 2}; }, {random({2})}));
    CHECK_THROWS_WITH(gradcheck([](auto& x) { return Variable<double>(2 * x.value()); }, {random({2})}),
                      ContainsSubstring("the gradient is 0, differences give"));
}

TEST_CASE("gradcheck refuses what it cannot check", "[gradcheck]") {
    Generator generator;
    const auto noisy = [&](const auto& x) { return x * generator.uniform(); };
    CHECK_THROWS_WITH(gradcheck(noisy, {random({2})}), ContainsSubstring("two different results for the same inputs"));
    CHECK_THROWS_WITH(gradcheck([](auto& x) { return log(x); }, {Variable<double>{1, -1}}),
                      ContainsSubstring("contains") && ContainsSubstring("nan"));
    CHECK_THROWS_WITH(gradcheck([](auto&) { return Variable<double>(); }, {random({2})}),
                      ContainsSubstring("output 0 is an empty Variable"));
    CHECK_THROWS_WITH(
        gradcheck([](const std::vector<Variable<double>>& x) { return x; }, std::vector<Variable<double>>()),
        ContainsSubstring("there are no inputs"));
    CHECK_THROWS_WITH(gradcheck(right, {random({2})}, {.order = 0}), ContainsSubstring("the order is 0"));
    CHECK_THROWS_WITH(gradcheck(right, {random({2})}, {.step = 0}), ContainsSubstring("the step is 0"));
}
