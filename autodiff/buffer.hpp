// The storage of an Array: a run of elements that is owned by the pool's memory or borrowed from somewhere else.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include <xgrad/autodiff/count.hpp>
#include <xgrad/autodiff/memory.hpp>

namespace xgrad {
namespace detail {

/// Counts the changes in place of all memory, in all threads: tells whether a value changed after it was saved.
inline constinit std::atomic<std::uint64_t> change_clock{0};

/// The head of a piece of memory, shared by all Buffers that look at it. Owned elements follow it at once.
struct alignas(64) Block {
    std::atomic<std::uint32_t> buffers{1};
    std::atomic<std::uint64_t> changed{0};  // when it was last changed in place, by the change clock
    std::atomic<bool> read_only{false};     // others rely on it, as a Dataset on what its batches look at
    std::size_t bytes = 0;                  // head and elements, as asked from the pool
    std::shared_ptr<void> keeper;           // what keeps borrowed memory alive

    static Block* create(std::size_t element_bytes, std::shared_ptr<void> keeper = nullptr) {
        if (element_bytes > std::numeric_limits<std::size_t>::max() - sizeof(Block)) throw std::bad_array_new_length();
        const std::size_t bytes = sizeof(Block) + element_bytes;
        auto* block = new (memory::allocate(bytes)) Block;
        block->bytes = bytes;
        block->keeper = std::move(keeper);
        return block;
    }
    void release() noexcept {
        if (buffers.load(std::memory_order_acquire) != 1 && decrease(buffers, 1u) != 0) return;
        const std::size_t size = bytes;
        this->~Block();
        memory::deallocate(this, size);
    }
};

}  // namespace detail

/// A run of `size()` elements: xtensor's storage for Array. Elements of a new Buffer are not initialised.
/// A copy is deep and owns its memory; `share` and `borrow` make Buffers that look at memory of others.
template <class T> class Buffer {
    static_assert(std::is_trivially_copyable_v<T>);

public:
    using value_type = T;
    using allocator_type = std::allocator<T>;
    using size_type = std::size_t;
    using difference_type = std::ptrdiff_t;
    using reference = T&;
    using const_reference = const T&;
    using pointer = T*;
    using const_pointer = const T*;
    using iterator = T*;
    using const_iterator = const T*;
    using reverse_iterator = std::reverse_iterator<T*>;
    using const_reverse_iterator = std::reverse_iterator<const T*>;

    Buffer() noexcept = default;
    explicit Buffer(size_type size) { own(size); }
    Buffer(size_type size, const T& value) : Buffer(size) { std::fill_n(data_, size, value); }
    Buffer(std::initializer_list<T> values) : Buffer(values.begin(), values.end()) {}
    template <std::forward_iterator Iterator>
    Buffer(Iterator first, Iterator last) : Buffer(static_cast<size_type>(std::distance(first, last))) {
        std::copy(first, last, data_);
    }
    Buffer(const Buffer& other) {
        if (!other.block_) return;
        own(other.size_);
        std::copy_n(other.data_, size_, data_);
    }
    Buffer(Buffer&& other) noexcept
        : block_(std::exchange(other.block_, nullptr)),
          data_(std::exchange(other.data_, nullptr)),
          size_(std::exchange(other.size_, 0)) {}
    Buffer& operator=(const Buffer& other) {
        if (this != &other) *this = Buffer(other);
        return *this;
    }
    Buffer& operator=(Buffer&& other) noexcept {
        Buffer(std::move(other)).swap(*this);
        return *this;
    }
    ~Buffer() {
        if (block_) block_->release();
    }

    /// Memory of someone else's, read and written in place; `keeper` is held as long as anything looks at it.
    static Buffer borrow(T* data, size_type size, std::shared_ptr<void> keeper = nullptr) {
        Buffer buffer;
        buffer.block_ = detail::Block::create(0, std::move(keeper));
        buffer.data_ = data;
        buffer.size_ = size;
        return buffer;
    }
    /// `size` elements of this memory from `offset` on, not copied.
    Buffer share(size_type offset, size_type size) const {
        Buffer buffer;
        if (block_) detail::increase(block_->buffers, 1u);
        buffer.block_ = block_;
        buffer.data_ = data_ + offset;
        buffer.size_ = size;
        return buffer;
    }

    /// Whether nobody else looks at this memory, and it is the pool's.
    bool unique() const noexcept {
        return block_ && block_->buffers.load(std::memory_order_acquire) == 1 && block_->bytes > sizeof(detail::Block);
    }
    /// When the memory was last changed in place, by the change clock: grows with every `touch`, by whichever Buffer.
    std::uint64_t changed_at() const noexcept { return block_ ? block_->changed.load(std::memory_order_relaxed) : 0; }
    /// Says that the elements were changed in place.
    void touch() noexcept {
        if (!block_) return;
        block_->changed.store(detail::increase(detail::change_clock, std::uint64_t{1}), std::memory_order_relaxed);
    }

    /// Says that Variables that look at this memory, now or later, are not to be changed in place. A copy may be.
    void protect() const noexcept {
        if (block_) block_->read_only.store(true, std::memory_order_relaxed);
    }
    bool is_read_only() const noexcept { return block_ && block_->read_only.load(std::memory_order_relaxed); }

    /// Makes room for `size` elements; old elements are kept only when the size stays the same.
    void resize(size_type size) {
        if (size != size_) *this = Buffer(size);
    }
    void swap(Buffer& other) noexcept {
        std::swap(block_, other.block_);
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
    }

    size_type size() const noexcept { return size_; }
    size_type max_size() const noexcept { return static_cast<size_type>(-1) / sizeof(T); }
    bool empty() const noexcept { return size_ == 0; }
    T* data() noexcept { return data_; }
    const T* data() const noexcept { return data_; }
    T& operator[](size_type i) { return data_[i]; }
    const T& operator[](size_type i) const { return data_[i]; }
    T& front() { return data_[0]; }
    const T& front() const { return data_[0]; }
    T& back() { return data_[size_ - 1]; }
    const T& back() const { return data_[size_ - 1]; }
    iterator begin() noexcept { return data_; }
    iterator end() noexcept { return data_ + size_; }
    const_iterator begin() const noexcept { return data_; }
    const_iterator end() const noexcept { return data_ + size_; }
    const_iterator cbegin() const noexcept { return data_; }
    const_iterator cend() const noexcept { return data_ + size_; }
    reverse_iterator rbegin() noexcept { return reverse_iterator(end()); }
    reverse_iterator rend() noexcept { return reverse_iterator(begin()); }
    const_reverse_iterator rbegin() const noexcept { return const_reverse_iterator(end()); }
    const_reverse_iterator rend() const noexcept { return const_reverse_iterator(begin()); }

private:
    void own(size_type size) {
        if (size > max_size()) throw std::bad_array_new_length();
        block_ = detail::Block::create(size * sizeof(T));
        data_ = reinterpret_cast<T*>(block_ + 1);
        size_ = size;
    }

    detail::Block* block_ = nullptr;
    T* data_ = nullptr;
    size_type size_ = 0;
};

template <class T> bool operator==(const Buffer<T>& a, const Buffer<T>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
}
template <class T> void swap(Buffer<T>& a, Buffer<T>& b) noexcept {
    a.swap(b);
}

}  // namespace xgrad
