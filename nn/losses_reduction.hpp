// What the sources of the losses share about reductions.
#pragma once

#include <fmt/format.h>

#include <xgrad/nn/losses.hpp>

namespace xgrad::nn::detail {

inline const char* name_of(Reduction reduction) {
    switch (reduction) {
        case Reduction::mean: return "mean";
        case Reduction::sum: return "sum";
        case Reduction::none: return "none";
        case Reduction::batchmean: break;
    }
    return "batchmean";
}

inline void refuse_batchmean(const char* loss, Reduction reduction) {
    if (reduction == Reduction::batchmean)
        throw Error(fmt::format("{}: the reduction batchmean is for kl_div only; expected mean, sum or none", loss));
}

}  // namespace xgrad::nn::detail
