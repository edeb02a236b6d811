// The activation that `linear` and `batch_norm` apply to their own result, fused into the kernel.
#pragma once

namespace xgrad {

/// What `linear` and `batch_norm` apply to their result, element by element.
enum class Activation { none, relu };

}  // namespace xgrad
