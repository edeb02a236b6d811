// Counts that several threads may change, without the price of that as long as there is one thread.
#pragma once

#include <atomic>

#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#endif

namespace xgrad::detail {

/// Whether the process has one thread only: then nobody else can come between a load and a store. It is what
/// std::shared_ptr goes by too.
inline bool single_threaded() noexcept {
#if __has_include(<sys/single_threaded.h>)
    return __libc_single_threaded;
#else
    return false;
#endif
}

/// Adds to a count, and returns what it is then.
template <class N> N increase(std::atomic<N>& count, N number) noexcept {
    if (!single_threaded()) return count.fetch_add(number, std::memory_order_relaxed) + number;
    const N after = count.load(std::memory_order_relaxed) + number;
    count.store(after, std::memory_order_relaxed);
    return after;
}

/// Subtracts from a count, and returns what is left. Whoever leaves nothing sees all that others did before they
/// subtracted.
template <class N> N decrease(std::atomic<N>& count, N number) noexcept {
    if (!single_threaded()) return count.fetch_sub(number, std::memory_order_acq_rel) - number;
    const N after = count.load(std::memory_order_relaxed) - number;
    count.store(after, std::memory_order_relaxed);
    return after;
}

}  // namespace xgrad::detail
