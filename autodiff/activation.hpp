// What a product or a normalisation makes of its result while that is at hand.
#pragma once

namespace xgrad {

/// What `linear` and `batch_norm` apply to their result, element by element.
enum class Activation { none, relu };

}  // namespace xgrad
