#include <functional>
#include <vector>

#include <xgrad/autodiff/operations/activations.hpp>
#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/matmul.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/record.hpp>
#include <xgrad/autodiff/variable.hpp>

#include "catch.hpp"
#include "leaf.hpp"

using namespace xgrad;
using testing::holds;
using testing::leaf;
using testing::tape_size;

namespace {

// A function that is run again in backward in place of keeping what it recorded.
using Function = std::function<Variable<>(const Variable<>&)>;
Variable<> checkpoint(Function function, const Variable<>& x) {
    Array<> value;
    {
        const NoGrad no_grad;
        value = function(x).value();
    }
    return record("checkpoint", std::move(value), wrt(x, [function, x](const Variable<>& g) {
                      Variable<> input = x.detach();
                      input.requires_grad(true);
                      const EnableGrad enable_grad;
                      function(input).backward(g);
                      return input.grad();
                  }));
}

}  // namespace

TEST_CASE("a checkpoint gives the gradients of what it runs again", "[tape]") {
    const Variable<> w = leaf({{1, 2}, {3, 4}}), b = leaf({0.5f, -0.5f});
    const Variable<> x = leaf({{1, -1}, {2, 0}});
    const Function block = [=](const Variable<>& h) { return tanh(matmul(h, w) + b); };
    const auto check = [&](const auto& with, const auto& without) {
        Variable<> leaves[] = {w, b, x};
        without().backward();
        std::vector<Array<>> expected;
        for (Variable<>& v : leaves) {
            expected.push_back(v.grad().value());
            v.zero_grad();
        }
        with().backward();
        for (std::size_t i = 0; i < 3; ++i) {
            REQUIRE(leaves[i].grad().defined());
            for (std::size_t k = 0; k < expected[i].size(); ++k)
                CHECK(leaves[i].grad().value().data()[k] == Approx(expected[i].data()[k]).margin(1e-5));
            leaves[i].zero_grad();
        }
        CHECK(tape_size() == 0);
    };
    SECTION("alone") {
        check([&] { return sum(checkpoint(block, x)); }, [&] { return sum(block(x)); });
    }
    SECTION("twice in a row") {
        check([&] { return sum(checkpoint(block, checkpoint(block, x))); }, [&] { return sum(block(block(x))); });
    }
    SECTION("one in another") {
        const Function outer = [&](const Variable<>& h) { return checkpoint(block, h) * 2; };
        check([&] { return sum(checkpoint(outer, x)); }, [&] { return sum(block(x) * 2); });
    }
    SECTION("with the same parameters used above") {
        check([&] { return sum(matmul(checkpoint(block, x), w) + b); }, [&] { return sum(matmul(block(x), w) + b); });
    }
    SECTION("with the same parameters used below") {
        check([&] { return sum(checkpoint(block, matmul(x, w) + b)); }, [&] { return sum(block(matmul(x, w) + b)); });
    }
    SECTION("with the same parameters used on both sides, and other leaves after them") {
        check([&] { return sum(matmul(checkpoint(block, matmul(x, w) + b), w) + b * w); },
              [&] { return sum(matmul(block(matmul(x, w) + b), w) + b * w); });
    }
}

TEST_CASE("a backward inside a vjp leaves the other leaves of the one around it alone", "[tape]") {
    const Variable<> x = leaf({1, 2}), w = leaf({3, 4}), v = leaf({5, 6});
    const Variable<> elsewhere = v * 2;  // v is complete only when the sweep ends
    sum(checkpoint([w](const Variable<>& h) { return h * w; }, x) * w * v).backward();
    CHECK(holds(v.grad(), {9, 32}));
    CHECK(holds(w.grad(), {30, 96}));
    CHECK(holds(x.grad(), {45, 96}));
}

TEST_CASE("grad inside a vjp does not mix with the backward around it", "[tape]") {
    Variable<> w = leaf({3, 4});
    const Variable<> x = leaf({1, 2});
    Array<> inner;
    const Variable<> y = record("mine", Array<>(x.value() * w.value()), wrt(x, [&](const Variable<>& g) {
                                    const EnableGrad enable_grad;
                                    const Variable<> again = x.detach().requires_grad(true);
                                    const auto gs = grad<float>({again * w}, {again, w}, {g});
                                    inner = gs[1].value();
                                    return gs[0];
                                }));
    const auto check = [&](const Array<>& expected) {
        CHECK(holds(x.grad(), {3, 4}));
        CHECK((inner == Array<>{1, 2}));
        CHECK(holds(w.grad(), expected));
    };
    SECTION("where the outer one has yet to complete a leaf") {
        const Variable<> blocker = sum(w);  // a use of w that keeps it from being complete
        sum(y + w * 5).backward();
        check({5, 5});
    }
    SECTION("where the outer one has completed it") {
        sum(y + w * 5).backward();
        check({5, 5});
    }
    SECTION("where the outer one is grad by the same leaf") {
        const auto gs = grad<float>({sum(y + w * 5)}, {w, x});
        CHECK(holds(gs[0], {5, 5}));
        CHECK(holds(gs[1], {3, 4}));
        CHECK((inner == Array<>{1, 2}));
    }
}

TEST_CASE("grad inside a vjp over the very graph that is passed does not mix with it", "[tape]") {
    const Variable<> x = leaf({1, 2});
    const Variable<> h = x * x;
    const Variable<> side = h * 3;
    Array<> inner;
    const Variable<> y = record("mine", Array<>(h.value()), wrt(h, [&](const Variable<>& g) {
                                    const EnableGrad enable_grad;
                                    inner = grad<float>({side}, {x}, {g}, {.retain_graph = true})[0].value();
                                    return g;
                                }));
    const Variable<> loss = sum(y + h * 10);
    loss.backward();
    CHECK((inner == Array<>{6, 12}));
    CHECK(holds(x.grad(), {22, 44}));
}

TEST_CASE("a backward inside a vjp may not free the graph that is being passed", "[tape]") {
    const Variable<> x = leaf({1, 2});
    const Variable<> h = x * x;
    bool armed = true;
    const Variable<> y = record("mine", Array<>(h.value()), wrt(h, [&](const Variable<>& g) {
                                    if (armed) sum(h).backward();
                                    return g;
                                }));
    {
        const Variable<> side = sum(h);
        const Variable<> z = record("mine", Array<>(h.value()), wrt(h, [&](const Variable<>& g) {
                                        side.backward();
                                        return g;
                                    }));
        CHECK_THROWS_WITH(sum(h * 2 + z).backward({.retain_graph = true}), ContainsSubstring("still running"));
    }
    CHECK_FALSE(x.grad().defined());
    CHECK_THROWS_AS(sum(y).backward({.retain_graph = true}), Error);  // recording is off in a vjp
    armed = false;
    sum(y).backward();
    CHECK(holds(x.grad(), {2, 4}));
    CHECK(tape_size() == 0);
}
