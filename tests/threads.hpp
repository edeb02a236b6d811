// The number of threads, for a part of a test.
#pragma once

#include <cstddef>

#include <xgrad/autodiff/kernels/threads.hpp>

namespace xgrad::testing {

/// Sets the number of threads, and puts it back at its end.
class Threads {
public:
    explicit Threads(std::size_t count) { set_threads(count); }
    ~Threads() { set_threads(before_); }
    Threads(const Threads&) = delete;
    Threads& operator=(const Threads&) = delete;

private:
    const std::size_t before_ = threads();
};

}  // namespace xgrad::testing
