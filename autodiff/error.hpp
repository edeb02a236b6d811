// The exception that every check of the library throws.
#pragma once

#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>

namespace xgrad {

/// What the library throws when it is given something wrong: the message names the operation, the offending shapes or
/// values, and what was expected. A call looks at what it is given before it changes anything; one that goes through
/// several things (a backward, the assignment of a module) may have done some of them when it meets the wrong one.
class Error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// A shape as messages show it: `(32, 784)`, `(5,)` for one dimension and `()` for a scalar.
std::string describe(std::span<const std::size_t> shape);

}  // namespace xgrad
