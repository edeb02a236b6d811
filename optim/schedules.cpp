#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include <xgrad/autodiff/error.hpp>
#include <xgrad/optim/schedules.hpp>

namespace xgrad::optim {
namespace {

void check_rate(const char* schedule, const char* what, double rate) {
    if (!(rate >= 0 && std::isfinite(rate)))
        throw Error(fmt::format("{}: the {} is {}; expected a finite number, at least 0", schedule, what, rate));
}

void check_steps(const char* schedule, const char* what, std::int64_t steps, std::int64_t least) {
    if (steps < least) throw Error(fmt::format("{}: {} is {}; expected at least {}", schedule, what, steps, least));
}

// How far into n steps: in (0, 1) during them, 1 from the last of them on.
double warmth(std::int64_t step, std::int64_t n) {
    return step + 1 >= n ? 1 : static_cast<double>(step + 1) / static_cast<double>(n);
}

}  // namespace

Schedule step_decay(double rate, std::int64_t every, double factor) {
    check_rate("step_decay", "rate", rate);
    check_rate("step_decay", "factor", factor);
    check_steps("step_decay", "every", every, 1);
    return [=](std::int64_t t) { return rate * std::pow(factor, static_cast<double>(t / every)); };
}

Schedule exponential_decay(double rate, double factor) {
    check_rate("exponential_decay", "rate", rate);
    check_rate("exponential_decay", "factor", factor);
    return [=](std::int64_t t) { return rate * std::pow(factor, static_cast<double>(t)); };
}

Schedule cosine(double rate, std::int64_t steps, CosineOptions options) {
    check_rate("cosine", "rate", rate);
    check_rate("cosine", "final_rate", options.final_rate);
    check_steps("cosine", "warmup_steps", options.warmup_steps, 0);
    check_steps("cosine", "steps", steps, options.warmup_steps + 1);
    return [=](std::int64_t t) {
        const std::int64_t warmup = options.warmup_steps;
        if (t < warmup) return rate * warmth(t, warmup);
        if (t >= steps) return options.final_rate;
        const double progress = static_cast<double>(t - warmup) / static_cast<double>(steps - warmup);
        return options.final_rate + (rate - options.final_rate) * (1 + std::cos(std::numbers::pi * progress)) / 2;
    };
}

Schedule linear_warmup(Schedule schedule, std::int64_t warmup_steps) {
    check_steps("linear_warmup", "warmup_steps", warmup_steps, 0);
    return [=](std::int64_t t) { return schedule(t) * warmth(t, warmup_steps); };
}

}  // namespace xgrad::optim
