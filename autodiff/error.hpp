// The exception that every check of the library throws.
#pragma once

#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>

namespace xgrad {

/// What the library throws when it is given something wrong: the message names the operation, the offending shapes or
/// values, and what was expected. What a call is given is checked before anything is changed. Two may stop half-way: a
/// backward that meets something wrong has added to the gradients that were complete by then, and the assignment of a
/// module has written the members before the one that does not fit.
class Error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// A shape as messages show it: `(32, 784)`, `(5,)` for one dimension and `()` for a scalar.
std::string describe(std::span<const std::size_t> shape);

}  // namespace xgrad
