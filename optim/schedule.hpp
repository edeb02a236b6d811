// A learning rate: a number, or a function of the step.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <utility>

#include <xgrad/autodiff/number.hpp>

namespace xgrad::optim {

/// The learning rate ηₜ of step t = 0, 1, …: made from a number, or from anything that is called with t and gives one.
/// schedules.hpp has the usual ones.
class Schedule {
public:
    Schedule(Number auto rate) : rate_(static_cast<double>(rate)) {}
    template <class F>
        requires(!std::same_as<std::remove_cvref_t<F>, Schedule> && std::is_invocable_r_v<double, F&, std::int64_t>)
    Schedule(F&& function) : function_(std::forward<F>(function)) {}

    double operator()(std::int64_t step) const { return function_ ? function_(step) : rate_; }

private:
    double rate_ = 0;
    std::function<double(std::int64_t)> function_;
};

}  // namespace xgrad::optim
