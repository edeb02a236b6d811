#include <array>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "random.hpp"
#include <xgrad/autodiff/gradcheck.hpp>
#include <xgrad/autodiff/operations/activations.hpp>
#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/matmul.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/operations/shape.hpp>

using namespace xgrad;
using xgrad::testing::check_refused;
using xgrad::testing::close;
using xgrad::testing::random;
using xgrad::testing::same;

namespace {

using V = Variable<double>;

struct Case {
    Shape a, b, result;
};
const std::vector<Case> vectors{
    {{4}, {4}, {}},           {{1}, {1}, {}},           {{0}, {0}, {}},     {{3, 4}, {4}, {3}}, {{3}, {3, 4}, {4}},
    {{2, 3, 4}, {4}, {2, 3}}, {{3}, {2, 3, 4}, {2, 4}}, {{1, 4}, {4}, {1}}, {{0, 4}, {4}, {0}}, {{3, 0}, {0}, {3}},
};
const std::vector<Case> matrices{
    {{3, 4}, {4, 5}, {3, 5}},
    {{1, 1}, {1, 1}, {1, 1}},
    {{5, 1}, {1, 3}, {5, 3}},
    {{1, 7}, {7, 1}, {1, 1}},
    {{2, 0}, {0, 3}, {2, 3}},
    {{0, 3}, {3, 2}, {0, 2}},
    {{2, 3}, {3, 0}, {2, 0}},
    {{2, 3, 4}, {2, 4, 2}, {2, 3, 2}},
    {{2, 3, 4}, {4, 2}, {2, 3, 2}},
    {{3, 4}, {2, 4, 2}, {2, 3, 2}},
    {{1, 3, 4}, {2, 4, 2}, {2, 3, 2}},
    {{2, 3, 4}, {1, 4, 2}, {2, 3, 2}},
    {{2, 1, 2, 3}, {3, 3, 2}, {2, 3, 2, 2}},
    {{2, 1, 2, 3}, {1, 3, 3, 2}, {2, 3, 2, 2}},
    {{1, 2, 2, 3}, {2, 3, 2}, {1, 2, 2, 2}},
    {{2, 2, 1, 3}, {2, 3, 2}, {2, 2, 1, 2}},
    {{0, 2, 3}, {3, 2}, {0, 2, 2}},
    {{0, 2, 3}, {1, 3, 2}, {0, 2, 2}},
    {{2, 3}, {700, 3, 1}, {700, 2, 1}},
    {{3, 17}, {40, 17, 2}, {40, 3, 2}},
    {{17, 16}, {2, 3, 16, 1}, {2, 3, 17, 1}},
};

Shape exchanged(Shape shape) {
    std::swap(shape[shape.size() - 1], shape[shape.size() - 2]);
    return shape;
}
V exchanged(const V& x) {
    std::vector<std::ptrdiff_t> axes;
    for (std::size_t i = 0; i < x.dimension(); ++i) axes.push_back(static_cast<std::ptrdiff_t>(i));
    std::swap(axes[axes.size() - 1], axes[axes.size() - 2]);
    return transpose(x, axes);
}

// The same product from other operations: broadcasting and a sum.
V product(const V& a, const V& b) { return sum(expand_dims(a, -1) * expand_dims(b, -3), -2); }

}  // namespace

TEST_CASE("matmul of matrices and batches has right values and derivatives under all transposes",
          "[operations][matmul]") {
    for (const auto& [a, b, result] : matrices)
        for (const bool ta : {false, true})
            for (const bool tb : {false, true}) {
                INFO(describe(a) << " · " << describe(b) << ", transposed: " << ta << " " << tb);
                const V x = random(ta ? exchanged(a) : a, 1), y = random(tb ? exchanged(b) : b, 2);
                const MatmulOptions options{.transpose_a = ta, .transpose_b = tb};
                const V z = matmul(x, y, options);
                CHECK(z.shape() == result);
                CHECK(close(z.value(), product(ta ? exchanged(x) : x, tb ? exchanged(y) : y).value()));
                gradcheck([&](auto& v, auto& w) { return matmul(v, w, options); }, {x, y}, {.directions = 1});
            }
}

TEST_CASE("matmul takes vectors as rows on the left and columns on the right", "[operations][matmul]") {
    for (const auto& [a, b, result] : vectors) {
        INFO(describe(a) << " · " << describe(b));
        const V x = random(a, 1), y = random(b, 2);
        const V z = matmul(x, y);
        REQUIRE(z.shape() == result);
        const V row = x.dimension() == 1 ? expand_dims(x, 0) : x, column = y.dimension() == 1 ? expand_dims(y, 1) : y;
        CHECK(close(z.value(), reshape(product(row, column), result).value()));
        gradcheck([](auto& v, auto& w) { return matmul(v, w); }, {x, y});
    }
    gradcheck([](auto& v, auto& w) { return matmul(v, w, {.transpose_b = true}); },
              {random({3}, 1), random({4, 3}, 2)});
    gradcheck([](auto& v, auto& w) { return matmul(v, w, {.transpose_a = true}); },
              {random({3, 4}, 1), random({3}, 2)});
}

TEST_CASE("matmul of a matrix with itself and chains of products have right derivatives", "[operations][matmul]") {
    gradcheck([](auto& x) { return matmul(x, x); }, {random({3, 3})}, {.order = 3});
    gradcheck([](auto& x) { return matmul(x, x, {.transpose_b = true}); }, {random({3, 2})}, {.order = 3});
    gradcheck([](auto& x, auto& y) { return matmul(matmul(x, y), tanh(matmul(y, x))); },
              {random({2, 2}, 1), random({2, 2}, 2)});
}

TEST_CASE("matmul keeps the values that the other operand's cotangent needs", "[operations][matmul]") {
    const V x = random({2, 3}).requires_grad(true), weight = random({3, 4}, 2).requires_grad(true);
    V h = x * 2;
    const detail::Node* const node = h.node();
    const V y = matmul(h, random({3, 4}, 3));
    V z = matmul(h, weight);
    h = {};
    CHECK(node->has_value());
    z = {};
    CHECK_FALSE(node->has_value());
    CHECK_NOTHROW(sum(y).backward());
}

TEST_CASE("an operand of several products receives the sum of their cotangents", "[operations][matmul]") {
    const V x = random({5, 3}, 1), y = random({2, 5, 3}, 2), z = random({3, 5}, 3), u = random({7, 3, 2}, 7),
            bias = random({3}, 4);
    // Weights of a network that goes round in circles, on either side, and products with a batch.
    const auto several = [&](auto& w, auto& b) {
        auto h = linear(x, w, b);
        for (int i = 0; i < 2; ++i)
            h = tanh(linear(h, w, b, Activation::relu) + linear(h, w) + matmul(z, w, {true, i == 0}) +
                     transpose(matmul(w, x, {i == 0, true})));
        return sum(h) + sum(square(matmul(y, w))) + sum(square(matmul(w, u) + matmul(w, u, {true}))) + sum(w);
    };
    gradcheck(several, {random({3, 3}, 5), bias});
    // They are added up where they stand, unless that is another one's cotangent as well.
    V w = random({3, 3}, 5).requires_grad(true), other = random({3, 3}, 6).requires_grad(true);
    const V before = matmul(x, w), passes_on = w + other;
    (before + matmul(x, passes_on)).backward(full(Shape{5, 3}, 1.0));
    CHECK(close(other.grad().value(), matmul(x, full(Shape{5, 3}, 1.0), {.transpose_a = true}).value()));
    CHECK(close(w.grad().value(), Array<double>(2 * other.grad().value())));
}

TEST_CASE("matmul of sizes beyond one tile has right derivatives", "[operations][matmul]") {
    gradcheck([](auto& x, auto& y) { return matmul(x, y); }, {random({37, 70}, 1), random({70, 53}, 2)});
    gradcheck([](auto& x, auto& y) { return matmul(x, y, {true, true}); }, {random({70, 37}, 1), random({53, 70}, 2)});
}

TEST_CASE("matmul takes xtensor expressions and gives its operands' precision", "[operations][matmul]") {
    const xt::xarray<double> a{{1, 2}, {3, 4}};
    CHECK(same(matmul(V{{1, 0}, {0, 2}}, a * 2), {{2, 4}, {12, 16}}));
    CHECK(same(matmul(Variable<float>{1, 2}, Variable<float>{3, 4}), full(Shape{}, 11.0f)));
}

TEST_CASE("matmul refuses sizes that do not fit and says both shapes", "[operations][matmul][errors]") {
    const V a = random({32, 8}), b = random({5, 10}), v = random({8});
    check_refused([&] { return matmul(a, b); }, {"matmul", "inner sizes", "(32, 8)", "(5, 10)"});
    check_refused([&] { return matmul(a, b, {.transpose_b = true}); }, {"matmul", "(32, 8)", "(5, 10)ᵀ"});
    check_refused([&] { return matmul(a, b, {.transpose_a = true}); }, {"matmul", "(32, 8)ᵀ", "(5, 10)"});
    check_refused([&] { return matmul(v, b); }, {"matmul", "(8,)", "(5, 10)"});
    check_refused([&] { return matmul(b, v); }, {"matmul", "(5, 10)", "(8,)"});
    check_refused([&] { return matmul(a, V(2)); }, {"matmul", "(32, 8)", "()", "scalar"});
    check_refused([&] { return matmul(v, a, {.transpose_a = true}); }, {"matmul", "vector", "(8,)"});
    check_refused([&] { return matmul(a, v, {.transpose_b = true}); }, {"matmul", "vector", "(8,)"});
    check_refused([] { return matmul(random({2, 3, 4}), random({3, 4, 5})); }, {"matmul", "(2, 3, 4)", "(3, 4, 5)"});
}

TEST_CASE("linear has right values and derivatives with and without bias and relu", "[operations][matmul]") {
    for (const Shape& shape :
         std::vector<Shape>{{4, 3}, {1, 3}, {3}, {2, 2, 3}, {0, 3}, {2, 0, 3}, {5, 1}, {3, 0}, {2, 2, 0}}) {
        const std::size_t in = shape[shape.size() - 1];
        for (const std::size_t out : {1u, 4u}) {
            INFO("input " << describe(shape) << ", " << out << " outputs");
            const V x = random(shape, 1), weight = random({out, in}, 2), bias = random({out}, 3, -2, 2, 0.3);
            const V y = linear(x, weight, bias);
            CHECK(close(y.value(), (matmul(x, weight, {.transpose_b = true}) + bias).value()));
            CHECK(close(linear(x, weight, bias, Activation::relu).value(), relu(y).value()));
            for (const Activation activation : {Activation::none, Activation::relu}) {
                gradcheck([&](auto& a, auto& w, auto& b) { return linear(a, w, b, activation); }, {x, weight, bias});
                gradcheck([&](auto& a, auto& w) { return linear(a, w, {}, activation); }, {x, weight});
            }
        }
    }
}

TEST_CASE("linear of no outputs, samples or inputs gives gradients of zeros", "[operations][matmul]") {
    for (const auto& [samples, inputs, outputs] : {std::array<std::size_t, 3>{3, 2, 0}, {0, 2, 3}, {3, 0, 2}}) {
        CAPTURE(samples, inputs, outputs);
        V x = random({samples, inputs}), weight = random({outputs, inputs}), bias = random({outputs});
        for (V* v : {&x, &weight, &bias}) v->requires_grad(true);
        const V y = linear(x, weight, bias);
        { const Array<double> pooled(Shape{3, 2}, std::numeric_limits<double>::quiet_NaN()); }
        y.backward(random(y.shape()));
        CHECK(same(x.grad(), full(x.shape(), 0.0)));
        CHECK(same(weight.grad(), full(weight.shape(), 0.0)));
        CHECK(close(bias.grad(), xt::sum(random(y.shape()).value(), {0})));
    }
}

TEST_CASE("linear computes the gradients of those inputs that require one", "[operations][matmul]") {
    const V x = random({4, 3}, 1), weight = random({2, 3}, 2), bias = random({2}, 3);
    for (const Activation activation : {Activation::none, Activation::relu}) {
        gradcheck([&](auto& v) { return linear(v, weight, bias, activation); }, {x});
        gradcheck([&](auto& v) { return linear(x, v, bias, activation); }, {weight});
        gradcheck([&](auto& v) { return linear(x, weight, v, activation); }, {bias});
    }
}

TEST_CASE("linear refuses shapes that do not fit and says them", "[operations][matmul][errors]") {
    const V x = random({4, 3}), weight = random({2, 3}), bias = random({2});
    check_refused([&] { return linear(random({4, 2}), weight, bias); }, {"linear", "(4, 2)", "(2, 3)", "must be 3"});
    check_refused([&] { return linear(V(1), weight); }, {"linear", "()", "(2, 3)"});
    check_refused([&] { return linear(x, random({3})); }, {"linear", "(3,)", "(out, in)"});
    check_refused([&] { return linear(x, weight, random({3})); }, {"linear", "bias", "(3,)", "(2, 3)", "(2,)"});
    check_refused([&] { return linear(x, weight, random({1, 2})); }, {"linear", "bias", "(1, 2)"});
    check_refused([&] { return linear(x, V()); }, {"empty"});
}
