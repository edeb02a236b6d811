// The usual learning-rate schedules: functions that give ηₜ for step t = 0, 1, … All of them throw Error for a rate
// that is negative or not finite, and for numbers of steps that make no sense.
//
//     optim::Adam optimizer(model.parameters(), {.learning_rate = optim::cosine(1e-3, 10'000, {.warmup_steps = 500})});
#pragma once

#include <cstdint>

#include <xgrad/optim/schedule.hpp>

namespace xgrad::optim {

/// ηₜ = η
Schedule constant(double rate);

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
