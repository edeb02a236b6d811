// The text of the Error that a call throws, for tests of messages.
#pragma once

#include <string>

#include <xgrad/autodiff/error.hpp>

namespace xgrad::testing {

template <class F> std::string message(F&& call) {
    try {
        call();
    } catch (const Error& error) {
        return error.what();
    }
    return "no Error was thrown";
}

}  // namespace xgrad::testing
