#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "kernel_twins.hpp"
#include <xgrad/autodiff/kernels/broadcast.hpp>
#include <xgrad/autodiff/kernels/elementwise.hpp>

using namespace xgrad;
using testing::LevelScope;
using twins::levels;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

template <class Formula, class T> std::vector<T> run(const Formula& formula, const std::vector<T>& x) {
    std::vector<T> y(x.size());
    const T* inputs[] = {x.data()};
    const std::size_t shape[] = {x.size()};
    kernels::elementwise_kernel<Formula, T, 1>().forward(&formula, kernels::Broadcast(shape, {shape}), y.data(),
                                                         inputs);
    return y;
}

template <class Formula, class T>
std::vector<T> run(const Formula& formula, const std::vector<T>& a, const std::vector<T>& b) {
    std::vector<T> y(a.size());
    const T* inputs[] = {a.data(), b.data()};
    const std::size_t shape[] = {a.size()};
    kernels::elementwise_kernel<Formula, T, 2>().forward(&formula, kernels::Broadcast(shape, {shape, shape}), y.data(),
                                                         inputs);
    return y;
}

// Numbers from low to high, evenly spaced and, through every binary order of magnitude between, evenly in their
// logarithm.
template <class T> std::vector<T> sweep(double low, double high) {
    std::vector<T> result;
    constexpr int steps = 20000;
    for (int i = 0; i <= steps; ++i) result.push_back(static_cast<T>(low + (high - low) * i / steps));
    const double smallest = std::log2(std::numeric_limits<T>::min()), largest = std::log2(std::max(-low, high));
    for (int i = 0; i <= steps; ++i) {
        const T magnitude = static_cast<T>(std::exp2(smallest + (largest - smallest) * i / steps));
        if (magnitude <= high && magnitude >= low) result.push_back(magnitude);
        if (-magnitude >= low && -magnitude <= high) result.push_back(-magnitude);
    }
    return result;
}

// The distance in units of the reference's last place; results below the normal range count as that range's smallest.
template <class T> double ulps(T value, long double reference) {
    if (std::isnan(reference)) return std::isnan(value) ? 0 : infinity;
    const long double largest = std::numeric_limits<T>::max();
    if (std::abs(reference) > largest) return value == std::copysign(infinity, reference) ? 0 : infinity;
    int exponent;
    std::frexp(std::max(std::abs(reference), static_cast<long double>(std::numeric_limits<T>::min())), &exponent);
    const long double unit = std::ldexp(1.0L, exponent - std::numeric_limits<T>::digits);
    const double error = static_cast<double>(std::abs(static_cast<long double>(value) - reference) / unit);
    return std::isnan(error) ? infinity : error;
}

template <class T, class Formula>
void check_one(const std::string& name, const Formula& formula, long double (*reference)(long double), double low,
               double high, double bound) {
    for (const LevelScope at : levels()) {
        const auto x = sweep<T>(low, high);
        const auto y = run(formula, x);
        double worst = 0;
        T where = 0;
        for (std::size_t i = 0; i < x.size(); ++i)
            if (const double error = ulps(y[i], reference(x[i])); error > worst) worst = error, where = x[i];
        INFO(name << " of " << (sizeof(T) == 4 ? "float" : "double") << " at level " << at.name() << ": "
                  << worst << " ulp at " << where);
        CHECK(worst <= bound);
    }
}

// Both precisions, each over its own range and within its own bound.
struct Range {
    double low, high, ulps;
};
template <class Formula>
void check(const std::string& name, const Formula& formula, long double (*reference)(long double), Range of_float,
           Range of_double) {
    check_one<float>(name, formula, reference, of_float.low, of_float.high, of_float.ulps);
    check_one<double>(name, formula, reference, of_double.low, of_double.high, of_double.ulps);
}

long double sigmoid_reference(long double x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

TEST_CASE("lanes compute the elementary functions to a few units in the last place", "[lane]") {
    check("exp", formulas::Exp(), std::exp, {-86, 100, 2}, {-707, 720, 2});
    check("expm1", formulas::Expm1(), std::expm1, {-100, 90, 2}, {-800, 720, 2});
    check("log", formulas::Log(), std::log, {0, 3e38, 2}, {0, 1e308, 2});
    check("log near 1", formulas::Log(), std::log, {0.5, 2, 2}, {0.5, 2, 2});
    check("log1p", formulas::Log1p(), std::log1p, {-1, 3e38, 2}, {-1, 1e308, 2});
    check("log1p near 0", formulas::Log1p(), std::log1p, {-0.6, 2, 2}, {-0.6, 2, 2});
    check("sqrt", formulas::Sqrt(), std::sqrt, {0, 3e38, 0.5}, {0, 1e308, 0.5});
    check("rsqrt", formulas::Rsqrt(), [](long double x) { return 1 / std::sqrt(x); }, {1e-30, 3e38, 2},
          {1e-300, 1e308, 2});
    check("sin", formulas::Sin(), std::sin, {-1e4, 1e4, 2}, {-1e5, 1e5, 2});
    check("cos", formulas::Cos(), std::cos, {-1e4, 1e4, 2}, {-1e5, 1e5, 2});
    check("tan", formulas::Tan(), std::tan, {-1e4, 1e4, 4}, {-1e5, 1e5, 4});
    check("tanh", formulas::Tanh(), std::tanh, {-100, 100, 4}, {-800, 800, 4});
    check("tanh near 0", formulas::Tanh(), std::tanh, {-3, 3, 4}, {-3, 3, 4});
    check("sigmoid", formulas::Sigmoid(), sigmoid_reference, {-86, 90, 3}, {-700, 720, 3});
    check("erf", formulas::Erf(), std::erf, {-10, 10, 4}, {-10, 10, 4});
}

TEST_CASE("lanes raise to powers, whole and broken, small and large", "[lane]") {
    static long double exponent;
    const auto power = [](long double x) { return std::pow(x, exponent); };
    for (double p :
         {-40.0, -8.0, -3.7, -2.0, -0.5, 0.0, 0.3, 0.5, 1.0, 1.5, -2.5, 1.7, 2.0, 3.0, 7.5, 8.0, 19.0, 33.3}) {
        const std::string name = "power " + std::to_string(p);
        const double bound = std::abs(p) <= 8 && 2 * p == std::trunc(2 * p) ? 7 : 3;  // products, or a logarithm
        exponent = static_cast<float>(p);
        check_one<float>(name, formulas::PowNumber{p}, power, 0.2, 9, bound);
        exponent = p;
        check_one<double>(name, formulas::PowNumber{p}, power, 1e-4, 1e4, bound);
        if (p == std::trunc(p)) check_one<double>(name, formulas::PowNumber{p}, power, -12, -0.01, bound);
    }
    for (const LevelScope at : levels()) {  // both operands vary, and their power spans the whole range
        std::vector<double> x, y;
        std::vector<float> xf, yf;
        for (int i = 0; i < 20000; ++i) {
            x.push_back(std::exp(i % 141 / 10.0 - 7)), y.push_back(i % 199 / 2.0 - 49);
            xf.push_back(static_cast<float>(std::exp(i % 141 / 50.0 - 1.4))),
                yf.push_back(static_cast<float>(y.back()));
        }
        const auto z = run(formulas::Pow(), x, y);
        const auto zf = run(formulas::Pow(), xf, yf);
        double worst = 0, worst_float = 0;
        for (std::size_t i = 0; i < x.size(); ++i) {
            worst = std::max(worst, ulps(z[i], std::pow<long double>(x[i], y[i])));
            worst_float = std::max(worst_float, ulps(zf[i], std::pow<long double>(xf[i], yf[i])));
        }
        INFO(at.name());
        CHECK(worst <= 12);
        CHECK(worst_float <= 1);
    }
}

TEMPLATE_TEST_CASE("lanes treat special values as C's functions do", "[lane]", float, double) {
    using T = TestType;
    using Limits = std::numeric_limits<T>;
    const T inf = Limits::infinity(), none = Limits::quiet_NaN(), tiny = Limits::denorm_min(),
            small = Limits::min() / 8;
    const std::vector<T> x{0,      T(-0.0), 1,    -1,    inf,   -inf,          none,
                           T(1e4), T(-1e4), tiny, -tiny, small, Limits::max(), Limits::lowest()};
    const auto same = [](T a, T b) {
        return std::isnan(b) ? std::isnan(a) : a == Approx(b).epsilon(1e-6).margin(Limits::min()) || a == b;
    };
    const auto agree = [&](const char* what, auto formula, T (*reference)(T)) {
        for (const LevelScope at : levels()) {
            const auto y = run(formula, x);
            for (std::size_t i = 0; i < x.size(); ++i) {
                INFO(what << " of " << x[i] << " is " << y[i] << " at level " << at.name());
                CHECK(same(y[i], reference(x[i])));
            }
        }
    };
    agree("exp", formulas::Exp(), [](T v) { return std::exp(v); });
    agree("expm1", formulas::Expm1(), [](T v) { return std::expm1(v); });
    agree("log", formulas::Log(), [](T v) { return std::log(v); });
    agree("log1p", formulas::Log1p(), [](T v) { return std::log1p(v); });
    agree("sqrt", formulas::Sqrt(), [](T v) { return std::sqrt(v); });
    agree("reciprocal", formulas::Reciprocal(), [](T v) { return 1 / v; });
    agree("rsqrt", formulas::Rsqrt(), [](T v) { return 1 / std::sqrt(v); });
    agree("abs", formulas::Abs(), [](T v) { return std::abs(v); });
    agree("floor", formulas::Floor(), [](T v) { return std::floor(v); });
    agree("sin", formulas::Sin(), [](T v) { return std::sin(v); });
    agree("cos", formulas::Cos(), [](T v) { return std::cos(v); });
    agree("tan", formulas::Tan(), [](T v) { return std::tan(v); });
    agree("tanh", formulas::Tanh(), [](T v) { return std::tanh(v); });
    agree("erf", formulas::Erf(), [](T v) { return std::erf(v); });
    agree("sigmoid", formulas::Sigmoid(), [](T v) { return 1 / (1 + std::exp(-v)); });
    agree("sign", formulas::Sign(), [](T v) { return v > 0 ? T(1) : v < 0 ? T(-1) : v; });
    agree("relu", formulas::Relu(), [](T v) { return v <= 0 ? T(0) : v; });
    agree("cube", formulas::PowNumber{3}, [](T v) { return v * v * v; });
    agree("pow 3", formulas::Cube{}, [](T v) { return v * v * v; });

    std::vector<T> a, b;
    const std::vector<T> exponents{0, 1, -1, 2, 3, -3, T(0.5), T(-1.5), 77, inf, -inf, none};
    for (T base : {T(0), T(-0.0), T(1), T(-1), T(2), T(-2), T(0.3), T(-0.3), inf, -inf, none, small})
        for (T exponent : exponents) a.push_back(base), b.push_back(exponent);
    for (const LevelScope at : levels()) {
        const auto power = run(formulas::Pow(), a, b), larger = run(formulas::Maximum(), a, b),
                   smaller = run(formulas::Minimum(), a, b);
        for (std::size_t i = 0; i < a.size(); ++i) {
            INFO(a[i] << " and " << b[i] << " at level " << at.name());
            CHECK(same(power[i], std::pow(a[i], b[i])));
            const bool either = std::isnan(a[i]) || std::isnan(b[i]);
            CHECK(same(larger[i], either ? none : std::max(a[i], b[i])));
            CHECK(same(smaller[i], either ? none : std::min(a[i], b[i])));
        }
    }
}

TEST_CASE("activations neither overflow nor lose their tails", "[lane]") {
    const std::vector<float> x{-1e4f, -100, -20, 20, 100, 1e4f};
    for (const LevelScope at : levels()) {
        INFO(at.name());
        CHECK(run(formulas::Sigmoid(), x)[0] == 0);
        CHECK(run(formulas::Sigmoid(), x)[2] == Approx(std::exp(-20.0)).epsilon(1e-5));
        CHECK(run(formulas::Sigmoid(), x)[5] == 1);
        CHECK(run(formulas::Tanh(), x)[0] == -1);
        CHECK(run(formulas::Tanh(), x)[5] == 1);
        CHECK(run(formulas::Gelu(), x)[0] == 0);
        CHECK(run(formulas::Gelu(), x)[5] == 1e4f);
        CHECK(run(formulas::Softplus(), x)[0] == 0);
        CHECK(run(formulas::Softplus(), x)[2] == Approx(std::exp(-20.0)).epsilon(1e-5));
        CHECK(run(formulas::Softplus(), x)[5] == 1e4f);
        CHECK(run(formulas::LogSigmoid(), x)[0] == -1e4f);
        CHECK(run(formulas::LogSigmoid(), x)[3] == Approx(-std::exp(-20.0)).epsilon(1e-5));
        CHECK(run(formulas::LogSigmoid(), x)[5] == 0);
        CHECK(run(formulas::Silu(), x)[0] == 0);
        CHECK(run(formulas::Silu(), x)[5] == 1e4f);
        CHECK(run(formulas::Mish(), x)[0] == 0);
        CHECK(run(formulas::Mish(), x)[2] == Approx(-20 * std::exp(-20.0)).epsilon(1e-5));
        CHECK(run(formulas::Mish(), x)[5] == 1e4f);
        CHECK(run(formulas::Elu(), x)[0] == -1);
        CHECK(run(formulas::Gelu(), x)[0] == 0);
        CHECK(run(formulas::GeluTanh(), x)[0] == 0);
        CHECK(run(formulas::GeluTanh(), x)[5] == 1e4f);
    }
}

TEMPLATE_TEST_CASE("masks select, combine, and take numbers on either side", "[lane]", float, double) {
    using T = TestType;
    using L = Lane<T>;
    const auto numbers = [](const L& lane) {
        std::vector<T> result(L::width);
        lane.store(result.data());
        return result;
    };
    std::vector<T> x(L::width);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(i) - 2;
    const L lane = L::load(x.data());
    const auto expect = [&](const Mask<T>& mask, auto predicate) {
        const auto chosen = numbers(where(mask, lane, -100)), ones = numbers(where(mask, 1, 0.0));
        for (std::size_t i = 0; i < x.size(); ++i) {
            CHECK(chosen[i] == (predicate(x[i]) ? x[i] : T(-100)));
            CHECK(ones[i] == (predicate(x[i]) ? 1 : 0));
        }
    };
    expect(lane > 0, [](T v) { return v > 0; });
    expect(lane >= 0, [](T v) { return v >= 0; });
    expect(0 < lane, [](T v) { return v > 0; });
    expect(lane <= 1.0, [](T v) { return v <= 1; });
    expect(lane == 1, [](T v) { return v == 1; });
    expect(lane != 1, [](T v) { return v != 1; });
    expect((lane > -1) & (lane < 2), [](T v) { return v > -1 && v < 2; });
    expect((lane < 0) | (lane > 1), [](T v) { return v < 0 || v > 1; });
    expect(!(lane < 0), [](T v) { return v >= 0; });
    expect(isnan(sqrt(lane)), [](T v) { return v < 0; });
    CHECK(numbers(where(lane != lane, log(-abs(lane)), 3)) == std::vector<T>(L::width, 3));
}

namespace {

template <class M> concept Branches = requires(M m) {
    m ? 1 : 2;
};
template <class M> concept Negates = requires(M m) {
    m&& m;
};

static_assert(!Branches<Mask<float>> && !Branches<Mask<double>> && !Negates<Mask<float>>);
static_assert(!std::convertible_to<Mask<float>, bool> && !std::constructible_from<bool, Mask<float>>);
static_assert(std::convertible_to<int, Lane<float>> && std::convertible_to<double, Lane<float>>);
static_assert(!std::convertible_to<Lane<float>, Lane<double>>);

}  // namespace

TEMPLATE_TEST_CASE("partial lanes read and write only what they are told", "[lane]", float, double) {
    using L = Lane<TestType>;
    for (std::size_t count = 0; count <= L::width; ++count) {
        const std::vector<TestType> from(count, 7);  // nothing may be read beyond
        TestType all[L::width];
        L::load_partial(from.data(), count).store(all);
        for (std::size_t i = 0; i < L::width; ++i) CHECK(all[i] == (i < count ? 7 : 1));
        std::vector<TestType> to(count);
        L(5).store_partial(to.data(), count);
        CHECK(to == std::vector<TestType>(count, 5));
    }
}

TEST_CASE("lanes clip, multiply and add, and take roots", "[lane]") {
    using L = Lane<double>;
    const auto first = [](const L& lane) {
        double numbers[L::width];
        lane.store(numbers);
        return numbers[0];
    };
    CHECK(first(clip(L(5), -1, 2)) == 2);
    CHECK(first(clip(L(-5), L(-1), L(2))) == -1);
    CHECK(std::isnan(first(clip(L(not_a_number), -1, 2))));
    CHECK(std::isnan(first(maximum(0, L(not_a_number)))));
    CHECK(std::isnan(first(minimum(L(not_a_number), 0))));
    CHECK(first(fma(L(2), L(3), L(4))) == 10);
    CHECK(first(pow(L(9), 0.5)) == 3);
    CHECK(first(pow(L(4), 1.5)) == 8);
    CHECK(first(pow(L(4), -2.5)) == 1. / 32);
    CHECK_FALSE(std::signbit(first(pow(L(-0.), 1.5))));
    CHECK_FALSE(std::signbit(first(pow(L(-0.), 0.5))));
    CHECK(first(pow(2, L(10))) == Approx(1024).epsilon(1e-14));
    CHECK(first(pow(L(-2), 5)) == -32);
    CHECK(first(pow(L(-2), 9)) == Approx(-512).epsilon(1e-14));
    CHECK(first(+L(2) - -L(3)) == 5);
    L x = 2;
    x += 1;
    x *= x;
    x -= 1;
    x /= 2;
    CHECK(first(x) == 4);
}

TEMPLATE_TEST_CASE("near quotients and roots are right to two units in the last place, and exact at zero and infinity",
                   "[lane]", float, double) {
    using T = TestType;
    using L = Lane<T>;
    const auto first = [](const L& lane) {
        T numbers[L::width];
        lane.store(numbers);
        return numbers[0];
    };
    const T smallest = std::numeric_limits<T>::min(), largest = std::numeric_limits<T>::max() / 4;
    // What near_sqrt does on other processors.
    const auto refined = [](const L& x) { return L(lanes::refined_square_root(x.batch())); };
    double worst_quotient = 0, worst_root = 0;
    for (T x : sweep<T>(smallest, largest)) {
        const long double root = std::sqrt(static_cast<long double>(x));
        worst_root = std::max({worst_root, ulps(first(near_sqrt(L(x))), root), ulps(first(refined(L(x))), root)});
        worst_quotient =
            std::max(worst_quotient, ulps(first(near_quotient(L(1), L(x))), 1 / static_cast<long double>(x)));
        worst_quotient =
            std::max(worst_quotient, ulps(first(near_quotient(L(x), L(T(0.7)))), x / static_cast<long double>(T(0.7))));
    }
    CHECK(worst_root <= 1);
    CHECK(worst_quotient <= 1.6);
    // Where the bound is nearly reached.
    const T a = T(0x1.f5649p+0), b = T(0x1.f573f8p+0);
    CHECK(ulps(first(near_quotient(L(a), L(b))), a / static_cast<long double>(b)) <= 1.6);
    const T infinite = std::numeric_limits<T>::infinity();
    for (const L& root : {near_sqrt(L(0)), refined(L(0))}) CHECK(first(root) == 0);
    for (const L& root : {near_sqrt(L(infinite)), refined(L(infinite))}) CHECK(first(root) == infinite);
    for (const L& root : {near_sqrt(L(T(not_a_number))), refined(L(T(not_a_number)))}) CHECK(std::isnan(first(root)));
    CHECK(first(near_quotient(L(3), L(0))) == infinite);
    CHECK(first(near_quotient(L(3), L(infinite))) == 0);
    CHECK(std::isnan(first(near_quotient(L(3), L(T(not_a_number))))));
    CHECK(std::isnan(first(near_quotient(L(0), L(0)))));
    CHECK(first(near_quotient(L(1), L(std::numeric_limits<T>::denorm_min()))) == infinite);
}
