#include <cmath>
#include <vector>

#include "catch.hpp"
#include "random.hpp"
#include <xgrad/autodiff/gradcheck.hpp>
#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/operations/softmax.hpp>

using namespace xgrad;
using xgrad::testing::check_refused;
using xgrad::testing::close;
using xgrad::testing::random;
using xgrad::testing::same;

namespace {

using V = Variable<double>;

struct Case {
    Shape shape;
    std::ptrdiff_t axis;
};
const std::vector<Case> cases{{{5}, 0},     {{1}, -1},      {{3, 4}, 0},     {{3, 4}, 1},
                              {{3, 4}, -2}, {{2, 3, 4}, 1}, {{2, 3, 4}, -1}, {{2, 3, 4}, 0},
                              {{1, 4}, 0},  {{0, 3}, 1},    {{3, 0}, 1},     {{2, 2, 2, 3}, 2}};

}  // namespace

TEST_CASE("softmax has right derivatives along every axis", "[operations][softmax]") {
    for (const auto& [shape, axis] : cases) {
        INFO("shape " << describe(shape) << ", axis " << axis);
        const V x = random(shape, 1);
        gradcheck([a = axis](auto& v) { return softmax(v, a); }, {x});
        CHECK(close(sum(softmax(x, axis), axis).value(), full(sum(x, axis).shape(), x.size() ? 1.0 : 0.0)));
    }
    gradcheck([](auto& x) { return softmax(x); }, {random({2, 3}, 2)}, {.order = 3});
}

TEST_CASE("log_softmax has right derivatives along every axis", "[operations][softmax]") {
    for (const auto& [shape, axis] : cases) {
        INFO("shape " << describe(shape) << ", axis " << axis);
        const V x = random(shape, 1);
        gradcheck([a = axis](auto& v) { return log_softmax(v, a); }, {x});
        CHECK(close(log_softmax(x, axis).value(), xt::log(softmax(x, axis).value())));
    }
    gradcheck([](auto& x) { return log_softmax(x); }, {random({2, 3}, 2)}, {.order = 3});
}

TEST_CASE("softmax and log_softmax take any finite numbers, and do not change when all grow alike",
          "[operations][softmax]") {
    const V x{{1e4, 1e4 - 1, -1e4}, {-1e4, -1e4, -1e4}};
    CHECK(softmax(x).value()(0, 0) == Approx(1 / (1 + std::exp(-1.0))));
    CHECK(softmax(x).value()(1, 2) == Approx(1.0 / 3));
    CHECK(log_softmax(x).value()(0, 2) == Approx(-2e4 - std::log1p(std::exp(-1.0))));
    const Variable<float> y{80, 90, 100};
    CHECK(close(softmax(y * 10).value(), softmax(y * 10 - 1000).value()));
    gradcheck([](auto& v) { return log_softmax(v) * 1e-2; }, {x});
}

TEST_CASE("the cotangent that a caller holds is not written over by softmax's backward", "[operations][softmax]") {
    V x = random({2, 3});
    x.requires_grad(true);
    const V g = random({2, 3}, 2);
    const Array<double> before = g.value();
    softmax(x).backward(g);
    log_softmax(x).backward(g);
    CHECK(same(g, before));
}

TEST_CASE("softmax refuses an axis that is not there", "[operations][softmax][errors]") {
    check_refused([] { return softmax(random({2, 3}), 2); }, {"softmax", "axis 2", "2 dimensions"});
    check_refused([] { return log_softmax(V(1)); }, {"log_softmax", "axis -1", "0 dimensions"});
}
