// Where values and nodes live: a pool that gives blocks back to whoever asks next, so that a training loop allocates
// nothing from the system after its first steps.
#pragma once

#include <cstddef>
#include <limits>
#include <new>
#include <utility>
#include <vector>

namespace xgrad::memory {

/// From so many bytes on, a block begins with a piece of memory of this size that is its own, and blocks of up to an
/// eighth share one. These are large pages where the system has them to give: a pass over them waits less for addresses
/// to be translated, and their lines fall on a cache's sets evenly rather than by chance.
inline constexpr std::size_t large_page = 2u << 20;

/// Memory of at least `bytes` bytes, aligned to 64. Blocks come from the calling thread's cache, then from the blocks
/// that all threads share, then from the system; when that has no more, after a trim. Those of more than an eighth of a
/// large page are all shared. While as much of them is free as was in use at any time since the last trim, and 32 MB,
/// a request is served by a larger one, or others go back to the system first. Throws std::bad_alloc.
void* allocate(std::size_t bytes);

/// Gives back what allocate(bytes) returned, from any thread, also while the program or a thread is being torn down.
void deallocate(void* block, std::size_t bytes) noexcept;

/// Counts over all threads since the program started.
struct Statistics {
    std::size_t system_allocations = 0;  ///< how often no block that had been given back would do
    std::size_t bytes_from_system = 0;   ///< bytes held now: in use, cached or not yet handed out
};
/// The counts at this moment.
Statistics statistics();

/// Returns all blocks that are cached by this thread, or shared by all, to the system; those that share a large page
/// when all of them can be.
void trim();

/// The pool as a standard allocator.
template <class T> struct Allocator {
    using value_type = T;
    Allocator() noexcept = default;
    template <class U> Allocator(const Allocator<U>&) noexcept {}
    T* allocate(std::size_t count) {
        if (count > std::numeric_limits<std::size_t>::max() / sizeof(T)) throw std::bad_array_new_length();
        return static_cast<T*>(memory::allocate(count * sizeof(T)));
    }
    void deallocate(T* block, std::size_t count) noexcept { memory::deallocate(block, count * sizeof(T)); }
    template <class U> bool operator==(const Allocator<U>&) const noexcept {
        return true;
    }
};

/// A vector in the pool.
template <class T> using Vector = std::vector<T, Allocator<T>>;

/// Room for `count` numbers from the pool, not initialised: what a kernel needs while it runs.
template <class T> class Scratch {
public:
    Scratch() = default;
    explicit Scratch(std::size_t count) : data_(Allocator<T>().allocate(count)), count_(count) {}
    Scratch(Scratch&& other) noexcept { swap(other); }
    Scratch& operator=(Scratch&& other) noexcept {
        swap(other);
        return *this;
    }
    ~Scratch() {
        if (data_) Allocator<T>().deallocate(data_, count_);
    }

    T* data() const noexcept { return data_; }
    explicit operator bool() const noexcept { return data_ != nullptr; }

private:
    void swap(Scratch& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(count_, other.count_);
    }

    T* data_ = nullptr;
    std::size_t count_ = 0;
};

}  // namespace xgrad::memory
