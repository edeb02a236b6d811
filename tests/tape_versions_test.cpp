#include <stdexcept>
#include <vector>

#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/operations/shape.hpp>
#include <xgrad/autodiff/record.hpp>
#include <xgrad/autodiff/variable.hpp>

#include "catch.hpp"
#include "leaf.hpp"

using namespace xgrad;
using testing::holds;
using testing::leaf;

namespace {

// A leaf of its own memory, changed by a number in place.
void shift(Variable<>& x, float by) {
    x.update([&](Array<>& value) { value += by; });
}

}  // namespace

TEST_CASE("a value that changed between forward and backward is refused in words", "[tape]") {
    Variable<> w = leaf({1, 2});
    const Variable<> x = leaf({3, 4});
    const Variable<> loss = sum(w * x);
    SECTION("by an update") { shift(w, 1); }
    SECTION("by an assignment") { w.assign({5, 6}); }
    SECTION("through a detached handle") { w.detach().assign({5, 6}); }
    SECTION("by an update that throws half-way") {
        CHECK_THROWS(w.update([](Array<>& value) {
            value(0) = 7;
            throw std::runtime_error("boom");
        }));
    }
    CHECK_THROWS_WITH(loss.backward(), ContainsSubstring("(2,)") && ContainsSubstring("'multiply'") &&
                                           ContainsSubstring("changed in place"));
    CHECK_FALSE(x.grad().defined());
    CHECK_FALSE(w.grad().defined());
}

TEST_CASE("a change is seen through a reshape that shares the memory", "[tape]") {
    Variable<> w = leaf({1, 2, 3, 4});
    const Variable<> x = leaf({{1, 1}, {1, 1}});
    const Variable<> loss = sum(reshape(w, Shape{2, 2}) * x);
    shift(w, 1);
    CHECK_THROWS_WITH(loss.backward(), ContainsSubstring("changed in place"));
}

TEST_CASE("a result that changed through a detached handle is refused by the vjp that reads it", "[tape]") {
    const Variable<> x = leaf({1, 2});
    const Variable<> y = exp(x);
    y.detach().assign({0, 0});
    CHECK_THROWS_WITH(sum(y).backward(), ContainsSubstring("'exp'") && ContainsSubstring("changed in place"));
}

TEST_CASE("a value that changed is not refused where no vjp reads it", "[tape]") {
    Variable<> w = leaf({1, 2});
    const Variable<> b = leaf({3, 4});
    const Variable<> loss = sum(w + b);
    shift(w, 1);
    shift(w, 1);
    CHECK_NOTHROW(loss.backward());
    CHECK(holds(w.grad(), {1, 1}));
}

TEST_CASE("forward, backward and step repeat without false alarms", "[tape]") {
    std::vector<Variable<>> parameters{leaf({1, 2}), leaf({3, 4})};
    const auto copies = parameters;  // handles that are never renewed
    Variable<> kept = parameters[0];
    const auto loss_of = [](std::vector<Variable<>> p) { return sum(square(p[0] * p[1])); };
    for (int step = 0; step < 3; ++step) {
        CHECK_NOTHROW(loss_of(copies).backward());
        CHECK_NOTHROW(sum(kept * copies[1] * parameters[0]).backward());
        for (Variable<>& p : parameters) {
            shift(p, -0.1f);
            p.zero_grad();
        }
    }
}

TEST_CASE("a handle that is older than a change gives no false alarm, moved or read where it stands", "[tape]") {
    Variable<> w = leaf({1, 2});
    const Variable<> x = leaf({3, 4});
    Variable<> old = w, other_old = w;
    shift(w, 1);
    const auto moved_in = [&x](Variable<> weight) {
        Array<> value = x.value() * weight.value();
        return record("mine", std::move(value),
                      wrt(x, [weight = std::move(weight)](const Variable<>& g) { return g * weight; }));
    };
    CHECK_NOTHROW(moved_in(std::move(old)).backward(Variable<>{1, 1}));
    const auto by_reference = record("mine", Array<>(x.value() * w.value()),
                                     wrt(x, [&other_old](const Variable<>& g) { return g * other_old; }));
    CHECK_NOTHROW(by_reference.backward(Variable<>{1, 1}));
    CHECK(holds(x.grad(), {4, 6}));
}

TEST_CASE("a change after the handle was moved into a vjp is refused", "[tape]") {
    Variable<> w = leaf({1, 2});
    const Variable<> x = leaf({3, 4});
    Variable<> copy = w;
    const Variable<> y = record("mine", Array<>(x.value() * w.value()),
                                wrt(x, [copy = std::move(copy)](const Variable<>& g) { return g * copy; }));
    shift(w, 1);
    CHECK_THROWS_WITH(y.backward(Variable<>{1, 1}), ContainsSubstring("'mine'"));
}
