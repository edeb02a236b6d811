#include <cstdint>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "message.hpp"
#include "random.hpp"
#include <xgrad/optim/sgd.hpp>

using namespace xgrad;
using testing::message;

namespace {

// torch.optim.SGD, one number at a time.
struct ScalarSgd {
    optim::SGDOptions options;
    double buffer = 0;
    int t = 0;

    double operator()(double p, double g) {
        g += options.weight_decay * p;
        buffer = t == 0 ? g : options.momentum * buffer + (1 - options.dampening) * g;
        if (options.momentum != 0) g = options.nesterov ? g + options.momentum * buffer : buffer;
        return p - options.learning_rate(t++) * g;
    }
};

}  // namespace

TEMPLATE_TEST_CASE("SGD is its formula, step by step", "[optim]", float, double) {
    const std::vector<optim::SGDOptions> variants{
        {.learning_rate = 0.1},
        {.learning_rate = 0.1, .weight_decay = 0.2},
        {.learning_rate = 0.1, .momentum = 0.9},
        {.learning_rate = 0.1, .momentum = 0.9, .dampening = 0.3, .weight_decay = 0.2},
        {.learning_rate = 0.1, .momentum = 0.9, .weight_decay = 0.2, .nesterov = true},
        {.learning_rate = [](int step) { return 0.1 / (1 + step); }, .momentum = 0.5},
    };
    for (const optim::SGDOptions& options : variants) {
        Variable<TestType> parameter = testing::random<TestType>({37}, 1).requires_grad(true);
        std::vector<double> expected(parameter.value().begin(), parameter.value().end());
        std::vector<ScalarSgd> twins(parameter.size(), {options});
        optim::SGD optimizer({parameter}, options);
        for (std::uint64_t step = 0; step < 6; ++step) {
            const Variable<TestType> gradient = testing::random<TestType>({37}, 10 + step);
            parameter.set_grad(gradient);
            optimizer.step();
            for (std::size_t i = 0; i < expected.size(); ++i)
                expected[i] = twins[i](expected[i], static_cast<double>(gradient.value()(i)));
        }
        const double tolerance = 50 * static_cast<double>(std::numeric_limits<TestType>::epsilon());
        for (std::size_t i = 0; i < expected.size(); ++i)
            CHECK(static_cast<double>(parameter.value()(i)) == Approx(expected[i]).epsilon(tolerance).margin(tolerance));
    }
}

TEST_CASE("SGD says which of its options is wrong", "[optim]") {
    Variable<> p{1, 2};
    p.requires_grad(true);
    CHECK(message([&] { optim::SGD({p}, {.momentum = -0.5}); }) ==
          "SGD: momentum is -0.5; expected a finite number, at least 0");
    CHECK(message([&] { optim::SGD({p}, {.nesterov = true}); }) ==
          "SGD: nesterov needs a momentum, which is 0, and no dampening, which is 0");
    CHECK(message([&] { optim::SGD({p}, {.momentum = 0.9, .dampening = 0.1, .nesterov = true}); }) ==
          "SGD: nesterov needs a momentum, which is 0.9, and no dampening, which is 0.1");
}
