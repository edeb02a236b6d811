// Where elementwise operations write: over an operand that comes as an rvalue, when nobody else sees it.
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "leaf.hpp"
#include "random.hpp"
#include <xgrad/autodiff/elementwise.hpp>
#include <xgrad/autodiff/gradcheck.hpp>
#include <xgrad/autodiff/operations/activations.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/operations/shape.hpp>
#include <xgrad/autodiff/parameter.hpp>

using namespace xgrad;
using xgrad::testing::close;
using xgrad::testing::leaf;
using xgrad::testing::random;
using xgrad::testing::same;

namespace {

using V = Variable<double>;
using Function = std::function<V(V)>;

const auto swish = elementwise([](auto x) { return x / (1 + exp(-x)); }, "swish");

// Where the value of an operand is, before it is handed over, and that of the result.
struct Places {
    const double *operand, *result;
};
Places apply(const Function& function, V operand) {
    const double* const at = operand.value().data();
    const V result = function(std::move(operand));
    return {at, result.value().data()};
}

// What a vjp needs neither for its own input nor for the other.
const std::vector<std::pair<const char*, Function>> saves_no_input = {
    {"-x", [](V x) { return -std::move(x); }},
    {"x + 3", [](V x) { return std::move(x) + 3; }},
    {"3 - x", [](V x) { return 3 - std::move(x); }},
    {"3 x", [](V x) { return 3 * std::move(x); }},
    {"x / 3", [](V x) { return std::move(x) / 3; }},
    {"x + c", [](V x) { return std::move(x) + random({5, 8}); }},
    {"c - x", [c = random({5, 8})](V x) { return c - std::move(x); }},
    {"row + x", [row = random({8})](V x) { return row + std::move(x); }},
    {"x c", [c = random({5, 8})](V x) { return std::move(x) * c; }},
    {"c x", [c = random({5, 8})](V x) { return c * std::move(x); }},
    {"x / c", [c = random({5, 8}) + 3](V x) { return std::move(x) / c; }},
    {"x plus an expression", [](V x) { return std::move(x) + xt::ones<double>({5, 8}); }},
    {"exp", [](V x) { return exp(std::move(x)); }},
    {"tanh", [](V x) { return tanh(std::move(x)); }},
    {"sigmoid", [](V x) { return sigmoid(std::move(x)); }},
    {"relu", [](V x) { return relu(std::move(x)); }},
    {"sign", [](V x) { return sign(std::move(x)); }},
};

const std::vector<std::pair<const char*, Function>> saves_input = {
    {"x²", [](V x) { return square(std::move(x)); }},
    {"x³", [](V x) { return pow(std::move(x), 3); }},
    {"2 / x", [](V x) { return 2 / std::move(x); }},
    {"sin", [](V x) { return sin(std::move(x)); }},
    {"clip", [](V x) { return clip(std::move(x), -1, 1); }},
    {"maximum", [c = random({5, 8})](V x) { return maximum(std::move(x), c); }},
    {"minimum of a number", [](V x) { return minimum(0.5, std::move(x)); }},
    {"silu", [](V x) { return silu(std::move(x)); }},
    {"softplus", [](V x) { return softplus(std::move(x)); }},
    {"a formula", [](V x) { return swish(std::move(x)); }},
    {"w x", [w = leaf(random({5, 8}))](V x) { return w * std::move(x); }},
    {"w / x", [w = leaf(random({5, 8}))](V x) { return w / std::move(x); }},
};

}  // namespace

TEST_CASE("an operand that nobody else sees is written over", "[elementwise][in_place]") {
    const V x = random({5, 8}, 0, -2, 2, 0.1), recorded = leaf(random({5, 8}, 0, -2, 2, 0.1));
    for (const auto& functions : {saves_no_input, saves_input})
        for (const auto& [name, function] : functions) {
            INFO(name);
            const NoGrad no_grad;
            const Places places = apply(function, abs(x) + 1);
            CHECK(places.operand == places.result);
        }
    for (const auto& [name, function] : saves_no_input) {
        INFO(name << ", recorded");
        const Places places = apply(function, recorded + 1);
        CHECK(places.operand == places.result);
        gradcheck([&function = function](const V& v) { return function(0.5 * v); }, {x});
    }
    for (const auto& [name, function] : saves_input) {
        INFO(name << ", recorded");
        const Places places = apply(function, 2 * recorded);
        CHECK(places.operand != places.result);
        gradcheck([&function = function](const V& v) { return function(0.5 * v); }, {x});
    }
}

TEST_CASE("of two operands the one that is not needed any more is written over", "[elementwise][in_place]") {
    const V x = leaf(random({5, 8}, 1)), constant = random({5, 8}, 2);
    // Factors that both have to be known: for the other's cotangent.
    V a = 2 * x, b = 3 * x;
    const double *at_a = a.value().data(), *at_b = b.value().data();
    const V product = std::move(a) * std::move(b);
    CHECK(product.value().data() != at_a);
    CHECK(product.value().data() != at_b);
    // A divisor is needed, what it divides is not.
    V dividend = 2 * x, divisor = constant + 3;
    const double* const at_dividend = dividend.value().data();
    const V quotient = std::move(dividend) / std::move(divisor);
    CHECK(quotient.value().data() == at_dividend);
    // One that is too small to hold the result is left alone.
    V row = 2 * random({8}), matrix = random({5, 8}, 3);
    const double* const at_matrix = matrix.value().data();
    const V added = std::move(row) + std::move(matrix);
    CHECK(added.value().data() == at_matrix);
    V tall = 2 * random({5, 1}), wide = 2 * random({1, 8});
    CHECK(same(std::move(tall) - std::move(wide), 2 * random({5, 1}).value() - 2 * random({1, 8}).value()));
    // One and the same variable, twice.
    V both = random({8}, 4);
    const V other = both;
    CHECK(same(V(both) + V(both), 2 * other.value()));
    for (const bool recorded : {false, true}) {
        V one = recorded ? x * 2 : constant * 2, same_one = one;
        const Array<double> before = one.value();
        CHECK(same(std::move(one) * std::move(same_one), xt::square(before)));
    }
}

TEST_CASE("an operand that somebody else needs is not written over", "[elementwise][in_place]") {
    const V x = leaf(random({5, 8}));
    const auto check_kept = [](V operand, const Function& function, auto seen) {
        const Array<double> before = seen();
        function(std::move(operand));
        CHECK(same(seen(), before));
    };
    for (const auto& [name, function] : saves_no_input) {
        INFO(name);
        V handle = 2 * x;
        const V other = handle;
        check_kept(std::move(handle), function, [&] { return other.value(); });
        handle = 2 * x;
        const V reshaped = reshape(handle, {8, 5});
        check_kept(std::move(handle), function, [&] { return reshaped.value(); });
        handle = 2 * x;
        const V detached = handle.detach();
        check_kept(std::move(handle), function, [&] { return detached.value(); });
        std::vector<double> memory(40, 1.5);
        check_kept(V(std::span(memory), Shape{5, 8}), function, [&] { return full<double>({1}, memory[0] + memory[39]); });

        // What the vjp that made it, or one recorded on top, has saved: also when it runs a second time.
        const auto gradients = [&](auto compute) {
            V y = random({5, 8}, 7);
            y.requires_grad(true);
            const V z = sum(compute(y) + y);  // sign has no cotangent of its own
            z.backward({.retain_graph = true});
            const Array<double> first = y.grad().value();
            y.zero_grad();
            z.backward();
            CHECK(same(y.grad(), first));
            return first;
        };
        const Function& f = function;
        CHECK(same(Array<double>(gradients([&](const V& y) { return f(exp(y)); })), gradients([&](const V& y) {
                       const V result = exp(y);
                       return f(result);
                   })));
        CHECK(same(Array<double>(gradients([&](const V& y) {
                       V shifted = y + 1;
                       V squared = square(shifted);
                       return std::move(squared) + f(std::move(shifted));
                   })),
                   gradients([&](const V& y) {
                       const V shifted = y + 1, squared = square(shifted);
                       return squared + f(shifted);
                   })));
    }
}

TEST_CASE("what observers are shown keeps its value", "[elementwise][in_place]") {
    struct Reader : Observer {
        void on_record(const Recorded& recorded) override {
            for (const detail::Node* input : recorded.inputs)
                sums.push_back(xt::sum(static_cast<const detail::ValueNode<double>*>(input)->value)());
        }
        std::vector<double> sums;
    } reader;
    const V x = leaf(V{1, 2});
    const V y = -(x + 1) * 2;
    const NoGrad no_grad;
    const V z = exp(V{0, 0}) / 2;
    CHECK(reader.sums == std::vector<double>{3, 5, -5, 0, 2});
}

TEST_CASE("an operation that throws leaves its operands alone", "[elementwise][in_place][errors]") {
    V a = random({5, 8});
    const V b = random({5, 7});
    const Array<double> before = a.value();
    xgrad::testing::check_refused([&] { return detail::add(std::move(a), V(b)); }, {"add", "(5, 8)", "(5, 7)"});
    CHECK(same(a, before));
    xgrad::testing::check_refused([&] { return detail::multiply(std::move(a), V(b)); }, {"multiply", "(5, 8)", "(5, 7)"});
    CHECK(same(a, before));
    CHECK_THROWS_AS(a *= b, Error);
    CHECK(same(a, before));
}

TEST_CASE("a result has nothing of the gradient, the hooks or the kind of what it was written over", "[elementwise][in_place]") {
    int calls = 0;
    V x = leaf(V{1, 2});
    sum(x * x).backward();
    x.requires_grad(false);
    V y = std::move(x) * 2;
    CHECK_FALSE(y.grad().defined());
    V hooked = leaf(V{1, 2});
    hooked.on_gradient([&](const V&) { ++calls; });
    hooked.requires_grad(false);
    V z = square(std::move(hooked));
    for (V* v : {&y, &z}) {
        v->requires_grad(true);
        sum(*v).backward();
        CHECK(same(v->grad(), Array<double>{1, 1}));
    }
    CHECK(calls == 0);
    Parameter<double> frozen(V{1, 2});
    frozen.requires_grad(false);
    V& handle = frozen;
    const V result = -std::move(handle);
    CHECK_FALSE(result.node()->is_parameter);
}

TEST_CASE("a chain is computed in one array", "[elementwise][in_place]") {
    const V row = random({8}), x = random({5, 8}, 1);
    const auto where = [](const V& v) { return v.value().data(); };
    for (const bool recording : {true, false}) {
        const V start = recording ? leaf(x) : x;
        const std::optional<NoGrad> no_grad = recording ? std::nullopt : std::optional<NoGrad>(std::in_place);
        const double* first = nullptr;
        const auto look = [&](V v) {
            first = where(v);
            return v;
        };
        const V result = row - (look(start + 1) * 3 / 7 - 2 + row) * 0.5;
        CHECK(where(result) == first);
    }
}

TEST_CASE("what has edges but no handles is written over, and passes its cotangent on", "[elementwise][in_place]") {
    const V x = leaf(random({40}, 1));
    V h = 2 * x;
    const double* const at = h.value().data();
    const V s = sum(h), e = exp(std::move(h));
    CHECK(e.value().data() == at);
    const auto found = grad<double>({s, e}, {x}, {V(1), random({40}, 2)}, {.retain_graph = true});
    CHECK(close(found[0], 2 + 2 * random({40}, 2).value() * xt::exp(2 * x.value())));
    CHECK(same(grad<double>({s, e}, {x}, {V(1), random({40}, 2)})[0], found[0].value()));
    // Under NoGrad, too: what was recorded keeps its graph.
    V recorded = 2 * x;
    const V total = sum(recorded);
    const NoGrad no_grad;
    const V next = square(std::move(recorded));
    CHECK(same(next, xt::square(2 * x.value())));
    CHECK(same(grad(total, x), Array<double>({40}, 2.0)));
}

TEST_CASE("memory that was changed in place raises no alarm when it is taken", "[elementwise][in_place]") {
    const V x = leaf(V{1, 2, 3});
    V changed = random({3}, 1);
    changed.update([](Array<double>& value) { value *= 2; });
    const Array<double> factors = changed.value();
    const V y = std::move(changed) + x;  // takes the memory, which is saved
    sum(y * y).backward();
    CHECK(close(x.grad(), 2 * (factors + x.value())));
    // A missed one would be worse.
    V saved = random({3}, 2);
    const V z = sum(x * saved);
    saved.update([](Array<double>& value) { value += 1; });
    CHECK_THROWS_AS(z.backward(), Error);
}

TEST_CASE("chains of temporaries have the values and gradients of named variables", "[elementwise][in_place]") {
    const auto chained = [](const V& x, const V& w) {
        return 0.5 * x * (1 + tanh(0.8 * (x + 0.04 * x * x * x))) + relu(w * x - 1) / (2 + exp(-x)) - sqrt(1 + w * w);
    };
    const auto named = [](const V& x, const V& w) {
        const V a = 0.5 * x, b = 0.04 * x, c = b * x, d = c * x, e = x + d, f = 0.8 * e, g = tanh(f), h = 1 + g, i = a * h;
        const V j = w * x, k = j - 1, l = relu(k), m = -x, n = exp(m), o = 2 + n, p = l / o, q = w * w, r = 1 + q;
        const V s = sqrt(r), t = i + p, u = t - s;
        return u;
    };
    for (const Shape& shape : {Shape{}, Shape{1}, Shape{0}, Shape{7, 9}, Shape{3, 6000}}) {
        const V x = leaf(random(shape, 1)), w = leaf(random(shape, 2)), cotangent = random(shape, 3);
        const auto results = [&](auto function) {
            V y = function(x, w);
            std::vector<V> found = grad<double>({y}, {x, w}, {cotangent}, {.create_graph = true});
            const std::vector<V> second = grad<double>({sum(square(found[0]) + found[1])}, {x, w});
            found.insert(found.end(), second.begin(), second.end());
            found.push_back(y);
            const NoGrad no_grad;
            found.push_back(function(x, w));
            return found;
        };
        const std::vector<V> found = results(chained), expected = results(named);
        // Not the same numbers: the order in which C++ computes operands is that in which gradients are added up.
        for (std::size_t i = 0; i < found.size(); ++i) CHECK(close(found[i], expected[i].value()));
    }
}

TEST_CASE("memory is reused only where nobody can see it", "[elementwise][in_place]") {
    V x = random({40});
    const Array<double> before = x.value();
    x.requires_grad(true);
    const V g = random({40}, 2);
    const Array<double> cotangent = g.value();

    // A cotangent that the caller holds, one that goes two ways, one that grad() asked for, and one of a retained
    // graph.
    const V y = swish(x), z = exp(y) + swish(y) + y;
    z.backward(g, {.retain_graph = true});
    const Array<double> first = x.grad().value();
    CHECK(same(g, cotangent));
    CHECK(same(x, before));
    const Array<double> kept = y.value();
    const std::vector<V> wanted = grad<double>({z}, {y, x}, {g}, {.retain_graph = true});
    const Array<double> at_y = wanted[0].value();
    CHECK(same(wanted[1], first));
    const std::vector<V> again = grad<double>({z}, {y, x}, {g});
    CHECK(same(again[0], at_y));
    CHECK(same(wanted[0], at_y));
    CHECK(same(again[1], first));
    CHECK(same(y, kept));
    CHECK(same(g, cotangent));

    // Temporaries, under NoGrad: inputs that someone holds by another handle, or whose memory is shared.
    const NoGrad no_grad;
    V a = random({40}, 3);
    const V b = a, c = reshape(a, {8, 5}), d = a.detach();
    const Array<double> held = a.value();
    const V e = -std::move(a);
    CHECK(same(b, held));
    CHECK(same(c, share(held, {8, 5})));
    CHECK(same(d, held));
    CHECK(same(e, Array<double>(-held)));
    std::vector<double> memory(40, 1.0);
    const V borrowed = exp(swish(V(std::span(memory), Shape{40})));
    CHECK(memory == std::vector<double>(40, 1.0));
    CHECK(borrowed.size() == 40);
}

TEST_CASE("arithmetic writes over a cotangent that nobody else needs", "[elementwise][in_place]") {
    const V constant = random({40}, 1) + 2;
    const std::pair<const char*, std::function<V(const V&)>> functions[] = {
        {"-x", [](const V& x) { return -x; }},
        {"3 - x", [](const V& x) { return 3 - x; }},
        {"3 x", [](const V& x) { return 3 * x; }},
        {"x / 3", [](const V& x) { return x / 3; }},
        {"x c", [&](const V& x) { return x * constant; }},
        {"c x", [&](const V& x) { return constant * x; }},
        {"x / c", [&](const V& x) { return x / constant; }},
        {"c - x", [&](const V& x) { return constant - x; }},
        {"tanh", [](const V& x) { return tanh(x); }},
    };
    for (const auto& [name, function] : functions) {
        INFO(name);
        // Looks at the cotangent on its way.
        const double *above = nullptr, *below = nullptr;
        const auto pass = [](const V& x, const double*& seen) {
            return record("pass", Array<double>(x.value()), wrt(x, [&seen](V g) {
                              seen = g.value().data();
                              return g;
                          }));
        };
        V x = random({40});
        x.requires_grad(true);
        sum(pass(function(pass(x, below)), above)).backward();
        CHECK(above != nullptr);
        CHECK(below == above);
        gradcheck(function, {x});
    }
}

TEST_CASE("a cotangent that two inputs of one operation receive is not written over by either", "[elementwise][in_place]") {
    V a = random({8}, 1), b = random({8}, 2);
    a.requires_grad(true), b.requires_grad(true);
    // Both operands of + get the same cotangent; each is then multiplied on.
    sum(square(exp(a) + swish(b))).backward();
    const Array<double> by_a = a.grad().value(), by_b = b.grad().value();
    const Array<double> outer = 2 * (xt::exp(a.value()) + b.value() / (1 + xt::exp(-b.value())));
    const Array<double> s = 1 / (1 + xt::exp(-b.value()));
    CHECK(close(by_a, outer * xt::exp(a.value())));
    CHECK(close(by_b, outer * (s + b.value() * s * (1 - s))));
}
