// Learning rates: a number, or a function of the step, and the usual ones of these, which throw Error for a rate that
// is negative or not finite, and for numbers of steps that make no sense. (What a Schedule gives is checked by the
// optimizer.)
//
//     optim::Adam optimizer(model.parameters(), {.learning_rate = optim::cosine(1e-3, 10'000, {.warmup_steps = 500})});
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <type_traits>
#include <utility>

#include <xgrad/autodiff/error.hpp>
#include <xgrad/autodiff/number.hpp>

namespace xgrad::optim {

/// The learning rate ηₜ of step t = 0, 1, …: made from a number, or from anything that is called with t and gives one.
/// Throws Error for an empty std::function.
class Schedule {
public:
    Schedule(Number auto rate) : rate_(static_cast<double>(rate)) {}
    template <class F>
        requires(!std::same_as<std::remove_cvref_t<F>, Schedule> && std::is_invocable_r_v<double, F&, std::int64_t>)
    Schedule(F&& function) : function_(std::forward<F>(function)) {
        if (!function_) throw Error("Schedule: the function is empty");
    }

    double operator()(std::int64_t step) const { return function_ ? function_(step) : rate_; }

private:
    double rate_ = 0;
    std::function<double(std::int64_t)> function_;
};

/// ηₜ = η·γ^⌊t/s⌋: multiplied by the factor γ every s steps
Schedule step_decay(double rate, std::int64_t every, double factor = 0.1);

/// ηₜ = η·γᵗ
Schedule exponential_decay(double rate, double factor);

/// How `cosine` begins and ends.
struct CosineOptions {
    std::int64_t warmup_steps = 0;
    double final_rate = 0;
};

/// With w steps of warmup, ηₜ = η·(t + 1)/w in them, then half a cosine down to η_end at step T = `steps`, and η_end
/// from there on: ηₜ = η_end + ½(η − η_end)(1 + cos π(t − w)/(T − w)) (Loshchilov and Hutter 2017).
Schedule cosine(double rate, std::int64_t steps, CosineOptions options = {});

/// Any other schedule with its first w steps made smaller: ηₜ = ηₜ′·min(1, (t + 1)/w) (Goyal et al. 2017)
Schedule linear_warmup(Schedule schedule, std::int64_t warmup_steps);

}  // namespace xgrad::optim
