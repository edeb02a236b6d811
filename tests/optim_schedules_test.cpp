#include <limits>

#include "catch.hpp"
#include "message.hpp"
#include <xgrad/optim/schedules.hpp>

using namespace xgrad;
using testing::message;

TEST_CASE("A schedule is a number or a function of the step", "[optim]") {
    CHECK(optim::Schedule(3)(100) == 3);
    CHECK(optim::Schedule([](double t) { return 2 * t; })(4) == 8);
}

TEST_CASE("Schedules are their formulas", "[optim]") {
    const optim::Schedule steps = optim::step_decay(1, 10, 0.5);
    CHECK(steps(9) == 1);
    CHECK(steps(10) == 0.5);
    CHECK(steps(35) == 0.125);

    CHECK(optim::exponential_decay(2, 0.5)(3) == 0.25);

    const optim::Schedule cosine = optim::cosine(1, 110, {.warmup_steps = 10, .final_rate = 0.1});
    CHECK(cosine(0) == Approx(0.1));
    CHECK(cosine(4) == Approx(0.5));
    CHECK(cosine(9) == 1);
    CHECK(cosine(10) == 1);
    CHECK(cosine(60) == Approx(0.55));
    CHECK(cosine(110) == 0.1);
    CHECK(cosine(1000) == 0.1);

    const optim::Schedule warm = optim::linear_warmup(optim::step_decay(1, 6, 0.1), 4);
    CHECK(warm(0) == 0.25);
    CHECK(warm(3) == 1);
    CHECK(warm(5) == 1);
    CHECK(warm(6) == Approx(0.1));
    CHECK(optim::linear_warmup(2, 0)(0) == 2);
}

TEST_CASE("Schedules refuse what makes no sense", "[optim]") {
    CHECK(message([] { optim::exponential_decay(-1, 1); }) ==
          "exponential_decay: the rate is -1; expected a finite number, at least 0");
    CHECK(message([] { optim::exponential_decay(1, std::numeric_limits<double>::infinity()); }) ==
          "exponential_decay: the factor is inf; expected a finite number, at least 0");
    CHECK(message([] { optim::step_decay(1, 0); }) == "step_decay: every is 0; expected at least 1");
    CHECK(message([] { optim::cosine(1, 5, {.warmup_steps = 5}); }) == "cosine: steps is 5; expected at least 6");
    CHECK(message([] { optim::linear_warmup(1, -1); }) == "linear_warmup: warmup_steps is -1; expected at least 0");
}
