#include <cmath>
#include <concepts>
#include <string>

#include "catch.hpp"
#include <xgrad/autodiff/dual.hpp>
#include <xgrad/autodiff/formulas.hpp>

using namespace xgrad;

namespace {

using L = Lane<double>;
using D = Dual<L>;
using DD = Dual<D>;

double number(const L& lane) {
    double all[L::width];
    lane.store(all);
    return all[0];
}

template <class F> double value(F f, double x) { return number(f(L(x))); }

template <class F> double derivative(F f, double x) { return number(D(f(D::variable(x))).tangent[0]); }

template <class F> double second_derivative(F f, double x) {
    return number(DD(f(DD::variable(D::variable(x)))).tangent[0].tangent[0]);
}

// The slope of f at x by central differences, good to some 10 digits where f is smooth.
template <class F> double slope(F f, double x) {
    const double h = 1e-3 * (1 + std::abs(x) / 10);
    const auto central = [&](double step) { return (f(x + step) - f(x - step)) / (2 * step); };
    return (4 * central(h / 2) - central(h)) / 3;  // Richardson
}

template <class F> void check(const std::string& name, F f, std::initializer_list<double> points) {
    for (double x : points) {
        INFO(name << " at " << x);
        // The compiler may fuse a product and a sum in one of them only, which shows where they cancel.
        CHECK(number(D(f(D::variable(x))).value) == Approx(value(f, x)).epsilon(1e-13).margin(1e-15));
        CHECK(derivative(f, x) == Approx(slope([&](double at) { return value(f, at); }, x)).epsilon(1e-7).margin(1e-8));
        CHECK(second_derivative(f, x) ==
              Approx(slope([&](double at) { return derivative(f, at); }, x)).epsilon(1e-7).margin(1e-8));
    }
}

}  // namespace

TEST_CASE("first and second derivatives of every function agree with central differences", "[dual]") {
    const auto anywhere = {-3.3, -1.2, -0.4, 0.3, 0.8, 2.7};
    const auto positive = {0.2, 0.7, 1.4, 5.5};
    check(
        "exp", [](auto x) { return exp(x); }, anywhere);
    check(
        "expm1", [](auto x) { return expm1(x); }, anywhere);
    check(
        "log", [](auto x) { return log(x); }, positive);
    check(
        "log1p", [](auto x) { return log1p(x); }, positive);
    check(
        "sqrt", [](auto x) { return sqrt(x); }, positive);
    check(
        "rsqrt", [](auto x) { return rsqrt(x); }, positive);
    check(
        "square", [](auto x) { return square(x); }, anywhere);
    check(
        "reciprocal", [](auto x) { return reciprocal(x); }, positive);
    check(
        "abs", [](auto x) { return abs(x); }, anywhere);
    check(
        "sign", [](auto x) { return sign(x); }, anywhere);
    check(
        "floor", [](auto x) { return floor(x); }, anywhere);
    check(
        "sin", [](auto x) { return sin(x); }, anywhere);
    check(
        "cos", [](auto x) { return cos(x); }, anywhere);
    check("tan", [](auto x) { return tan(x); }, {-1.2, 0.3, 0.8});
    check(
        "tanh", [](auto x) { return tanh(x); }, anywhere);
    check(
        "sigmoid", [](auto x) { return sigmoid(x); }, anywhere);
    check(
        "erf", [](auto x) { return erf(x); }, anywhere);
    check(
        "fma", [](auto x) { return fma(x, x, x); }, anywhere);
    check(
        "whole power", [](auto x) { return pow(x, 3); }, anywhere);
    check(
        "negative power", [](auto x) { return pow(x, -2); }, positive);
    check(
        "power", [](auto x) { return pow(x, 2.7); }, positive);
    check(
        "power of itself", [](auto x) { return pow(x, x); }, positive);
    check(
        "power of a number", [](auto x) { return pow(2, x); }, anywhere);
    check(
        "maximum", [](auto x) { return maximum(x, 0.5) * maximum(-1, x) * maximum(x, square(x)); }, anywhere);
    check(
        "minimum", [](auto x) { return minimum(x, 0.5) * minimum(-1, x) * minimum(x, square(x)); }, anywhere);
    check(
        "clip", [](auto x) { return clip(x, -1, 1) * x; }, anywhere);
    check(
        "where", [](auto x) { return where(x > 0, x * x, 1 / x) + where(x < 1, x, 2) + where(x == 0, 3, x); },
        anywhere);
}

TEST_CASE("arithmetic of duals agrees with central differences, with constants on either side", "[dual]") {
    const auto points = {-2.2, -0.7, 0.4, 1.9};
    check(
        "sums", [](auto x) { return (x + 2) + (2 - x * x) + (x - 3.0) + (x - x * x) + x; }, points);
    check(
        "products", [](auto x) { return (x * 2) * (x * x) * (3.0 * x); }, points);
    check(
        "quotients", [](auto x) { return (x / 2) / (5 + x * x) + 3 / x + x / (x + 7); }, points);
    check(
        "signs", [](auto x) { return -x * +x; }, points);
    check(
        "assignments",
        [](auto x) {
            auto y = x * x;
            y += x;
            y *= x;
            y -= 1;
            y /= x + 7;
            return y;
        },
        points);
}

TEST_CASE("first and second derivatives of every activation agree with central differences", "[dual]") {
    // Away from kinks; the last two are where stability matters.
    const auto points = {-4.2, -1.7, -0.3, 0.2, 0.7, 1.6, 4.4, -50.0, 50.0};
    using namespace formulas;
    check("relu", Relu(), points);
    check("leaky_relu", LeakyRelu{0.1}, points);
    check("elu", Elu{1.3}, points);
    check("selu", Selu(), points);
    check("celu", Celu{0.8}, points);
    check("gelu", Gelu(), points);
    check("gelu_tanh", GeluTanh(), points);
    check("silu", Silu(), points);
    check("mish", Mish(), points);
    check("softplus", Softplus{1.5, 10}, {-4.2, -0.3, 0.7, 4.4, -50.0, 50.0});
    check("softsign", Softsign(), points);
    check("clip", Clip{-0.5, 1}, points);
    check("hardsigmoid", Hardsigmoid(), points);
    check("hardswish", Hardswish(), points);
    check("log_sigmoid", LogSigmoid(), points);
}

TEST_CASE("several tangents are carried at once", "[dual]") {
    using D2 = Dual<L, 2>;
    const auto f = [](auto x, auto y) { return x * exp(y) + pow(x, y) / y; };
    const D2 z = f(D2::variable(1.7, 0), D2::variable(0.6, 1));
    CHECK(number(z.value) == Approx(value([&](L x) { return f(x, L(0.6)); }, 1.7)));
    CHECK(number(z.tangent[0]) == Approx(derivative([&](D x) { return f(x, D(0.6)); }, 1.7)).epsilon(1e-12));
    CHECK(number(z.tangent[1]) == Approx(derivative([&](D y) { return f(D(1.7), y); }, 0.6)).epsilon(1e-12));
}

TEST_CASE("an infinite slope leaves alone the tangents of directions that a number does not depend on", "[dual]") {
    using D2 = Dual<L, 2>;
    using DD2 = Dual<D2, 2>;
    const auto f = [](auto x, auto y) { return sqrt(x) * 2 + y * y - 1 / x + pow(x, y); };
    const D2 z = f(D2::variable(0, 0), D2::variable(3, 1));
    CHECK_FALSE(std::isfinite(number(z.tangent[0])));
    CHECK(number(z.tangent[1]) == 6);
    CHECK(number(D(f(D(0), D::variable(3))).tangent[0]) == 6);
    const DD2 zz = f(DD2::variable(D2::variable(0, 0), 0), DD2::variable(D2::variable(3, 1), 1));
    CHECK(number(zz.tangent[1].tangent[1]) == 2);
    // What depends on x does so after a subtraction, too: x - x is no known zero, and neither is a tangent that is given.
    CHECK(std::isnan(derivative([](auto x) { return sqrt(x - x); }, 1)));
    CHECK(std::isnan(number(sqrt(D(L(0), {L(0)})).tangent[0])));
}

TEST_CASE("derivatives at kinks are PyTorch's", "[dual]") {
    CHECK(derivative([](auto x) { return abs(x); }, 0) == 0);
    CHECK(derivative([](auto x) { return maximum(x, 0); }, 0) == 0.5);
    CHECK(derivative([](auto x) { return minimum(0, x); }, 0) == 0.5);
    CHECK(derivative([](auto x) { return maximum(x, 2 * x); }, 0) == 1.5);
    CHECK(derivative([](auto x) { return clip(x, 0, 1); }, 0) == 0);
    CHECK(derivative([](auto x) { return clip(x, 0, 1); }, 1) == 0);
    CHECK(derivative(formulas::Relu(), 0) == 0);
    CHECK(derivative(formulas::LeakyRelu{0.1}, 0) == 0.1);
    CHECK(derivative(formulas::Elu{1.5}, 0) == 1.5);
    CHECK(derivative(formulas::Celu{1.5}, 0) == 1);
    CHECK(derivative(formulas::Clip(), 1) == 0);
    CHECK(derivative(formulas::Clip(), -1) == 0);
    CHECK(derivative(formulas::Hardsigmoid(), 3) == 0);
    CHECK(derivative(formulas::Hardswish(), 3) == 1);
    CHECK(derivative(formulas::Hardswish(), -3) == 0);
    CHECK(derivative(formulas::LogSigmoid(), 0) == 0.5);
    CHECK(derivative(formulas::Softplus(), 20) == Approx(1));
    CHECK(derivative(formulas::Mish(), 20) == Approx(1));
}

TEST_CASE("powers have the derivatives of PyTorch at the borders of their domain", "[dual]") {
    CHECK(derivative([](auto x) { return pow(x, 0); }, 0) == 0);
    CHECK(derivative([](auto x) { return pow(x, 1); }, 0) == 1);
    CHECK(derivative([](auto x) { return pow(x, 2.0); }, -3) == -6);
    CHECK(derivative([](auto x) { return pow(x, decltype(x)(0)); }, 0) == 0);
    CHECK(derivative([](auto p) { return pow(0, p); }, 2) == 0);
    CHECK(derivative([](auto p) { return pow(decltype(p)(0), p); }, 2) == 0);
    CHECK(std::isnan(derivative([](auto p) { return pow(-3, p); }, 2)));
    CHECK(std::isnan(derivative([](auto p) { return pow(decltype(p)(-3), p); }, 2)));
    CHECK(std::isnan(second_derivative([](auto p) { return pow(decltype(p)(-3), p); }, 2)));
    // A whole exponent may be an operand, too, and its missing derivative does not spoil that of a negative base.
    CHECK(derivative([](auto x) { return pow(x, decltype(x)(2)); }, -3) == Approx(-6));
}

TEST_CASE("activations keep finite derivatives far out", "[dual]") {
    using namespace formulas;
    for (double x : {-1e4, -800.0, 800.0, 1e4}) {
        const auto finite = [&](auto f) {
            return std::isfinite(value(f, x)) && std::isfinite(derivative(f, x)) &&
                   std::isfinite(second_derivative(f, x));
        };
        INFO("at " << x);
        CHECK(finite(Sigmoid()));
        CHECK(finite(Tanh()));
        CHECK(finite(Elu()));
        CHECK(finite(Selu()));
        CHECK(finite(Celu{0.5}));
        CHECK(finite(Gelu()));
        CHECK(finite(GeluTanh()));
        CHECK(finite(Silu()));
        CHECK(finite(Mish()));
        CHECK(finite(Softplus()));
        CHECK(finite(LogSigmoid()));
        CHECK(finite(Softsign()));
    }
}

TEST_CASE("duals take numbers, lanes and inner duals as constants", "[dual]") {
    const DD x = DD::variable(D::variable(3.0));
    CHECK(number((x * L(2)).tangent[0].value) == 2);
    CHECK(number((x * D(2)).tangent[0].value) == 2);
    CHECK(number((x + D::variable(2.0)).value.tangent[0]) == 2);
    CHECK(number((2.0f * x).tangent[0].value) == 2);
    CHECK(number(DD(7).value.value) == 7);
    static_assert(std::convertible_to<int, DD> && std::convertible_to<L, DD> && std::convertible_to<D, DD>);
    static_assert(!std::convertible_to<DD, D> && !std::convertible_to<D, L>);
    static_assert(std::same_as<decltype(x > 0), Mask<double>> && std::same_as<decltype(1 <= x), Mask<double>> &&
                  std::same_as<decltype(x == L(0)), Mask<double>> && std::same_as<decltype(isnan(x)), Mask<double>>);
}
