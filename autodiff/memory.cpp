#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <new>
#include <utility>

#if defined(__unix__)
#include <pthread.h>
#include <sys/mman.h>
#endif

#include <xgrad/autodiff/memory.hpp>

#if defined(__SANITIZE_ADDRESS__)
#define XGRAD_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)  // as Clang says it
#define XGRAD_ADDRESS_SANITIZER 1
#endif
#endif

#if defined(XGRAD_ADDRESS_SANITIZER)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

namespace xgrad::memory {
namespace {

constexpr std::size_t unit = 64;                          // alignment, and the smallest block
constexpr std::size_t class_count = 320;                  // enough for 2^46 bytes
constexpr std::size_t cached_bytes_per_class = 4u << 20;  // what a thread keeps to itself

// Large blocks begin one unit before a page, so that an array's elements, which follow a head of one unit, begin with
// the page. A load whose address equals that of a recent store modulo 4 KiB waits for it (4K aliasing), so results must
// not begin a little further into a page than what they are computed from; a user's arrays from malloc begin 16 bytes
// into one.
constexpr std::size_t page = 4096, large = 16 * page, before_page = page - unit;

// Blocks of up to so many bytes are carved from large pages, which they share. (Not where a sanitizer is to see the end
// of each block, and whether it is lost.)
#if defined(XGRAD_ADDRESS_SANITIZER)
constexpr std::size_t largest_carved = 0;
#else
constexpr std::size_t largest_carved = large_page / 8;
#endif

// Larger ones are blocks of their own. Those that begin before a page say there what their size is, as they may serve
// smaller requests, too.
constexpr bool says_its_size(std::size_t bytes) { return bytes > largest_carved && bytes >= large; }

// Own blocks that are given back are kept, as the next step mostly asks for the same sizes. Where each step asks for
// others, blocks of all sizes would gather: while as much is free as was once in use, and this, no more is asked for.
constexpr std::size_t always_kept = 32u << 20;

struct FreeBlock {
    FreeBlock* next;
};

// Eight sizes to each doubling: at most an eighth of a block is wasted.
struct SizeClass {
    std::size_t index;
    std::size_t bytes;
};

SizeClass size_class(std::size_t bytes) {
    const std::size_t last = (std::max<std::size_t>(bytes, 1) - 1) / unit;
    const int width = static_cast<int>(std::bit_width(last));
    const int shift = std::max(0, width - 4);
    const std::size_t step = last >> shift;
    return {static_cast<std::size_t>(shift) * 8 + step, ((step + 1) << shift) * unit};
}

class FreeList {
public:
    void push(void* block, std::size_t bytes) {
        ASAN_UNPOISON_MEMORY_REGION(block, sizeof(FreeBlock));
        first_ = new (block) FreeBlock{first_};
        ++count_;
        ASAN_POISON_MEMORY_REGION(static_cast<char*>(block) + sizeof(FreeBlock), bytes - sizeof(FreeBlock));
    }
    void* pop(std::size_t bytes) {
        FreeBlock* block = first_;
        if (!block) return nullptr;
        first_ = block->next;
        --count_;
        ASAN_UNPOISON_MEMORY_REGION(block, bytes);
        return block;
    }
    std::size_t count() const { return count_; }

private:
    FreeBlock* first_ = nullptr;
    std::size_t count_ = 0;
};

using FreeLists = std::array<FreeList, class_count>;

// Blocks that any thread may take. Constant-initialised and never destroyed: usable before main and after it.
constinit FreeLists shared_lists;
constinit std::mutex shared_mutex;
#if defined(__unix__)
// A child that is forked while another thread holds the lock would wait for it for ever.
[[maybe_unused]] const int fork_handlers = pthread_atfork([] { shared_mutex.lock(); }, [] { shared_mutex.unlock(); },
                                                          [] { shared_mutex.unlock(); });
#endif
constinit std::atomic<std::size_t> system_allocations{0};
constinit std::atomic<std::size_t> bytes_from_system{0};
// Bytes of blocks that say their size: of all, of those in use now, and of the most that were in use at a time since
// the last trim.
constinit std::atomic<std::size_t> own_bytes{0}, own_in_use{0}, own_most_in_use{0};

std::size_t bytes_of_class(std::size_t index) {
    if (index < 16) return (index + 1) * unit;
    const std::size_t shift = index / 8 - 1;
    return ((index - shift * 8 + 1) << shift) * unit;
}

// A large page from which blocks are carved, and what stands at its beginning.
struct Chunk {
    Chunk* next;
    std::size_t end;   // of the blocks that were carved
    std::size_t used;  // bytes of those
    std::size_t free;  // of which in the free lists, while trim counts
};

// All chunks, the one that is carved from first. Guarded by shared_mutex.
constinit Chunk* chunks = nullptr;

Chunk* chunk_of(void* block) {
    return reinterpret_cast<Chunk*>(reinterpret_cast<std::uintptr_t>(block) / large_page * large_page);
}

bool open_chunk() {
    void* memory = nullptr;
    if (posix_memalign(&memory, large_page, large_page) != 0) return false;
#if defined(__linux__)
    madvise(memory, large_page, MADV_HUGEPAGE);  // only a wish
#endif
    chunks = new (memory) Chunk{chunks, unit, 0, 0};
    bytes_from_system.fetch_add(large_page, std::memory_order_relaxed);
    return true;
}

void* carve(std::size_t bytes) {
    const auto next_place = [bytes] {
        return bytes < large ? chunks->end : (chunks->end + unit + page - 1) / page * page - unit;
    };
    if ((!chunks || next_place() + bytes > large_page) && !open_chunk()) return nullptr;
    const std::size_t place = next_place();
    chunks->end = place + bytes;
    chunks->used += bytes;
    system_allocations.fetch_add(1, std::memory_order_relaxed);
    return reinterpret_cast<char*>(chunks) + place;
}

// Frees the chunks whose blocks are all in the shared lists.
void trim_chunks() {
    static_assert(sizeof(Chunk) <= unit);
    const auto each_block = [](auto keep) {
        for (std::size_t index = 0; index < class_count && bytes_of_class(index) <= largest_carved; ++index) {
            FreeList kept;
            while (void* block = shared_lists[index].pop(bytes_of_class(index)))
                if (keep(chunk_of(block), bytes_of_class(index))) kept.push(block, bytes_of_class(index));
            shared_lists[index] = kept;
        }
    };
    for (Chunk* chunk = chunks; chunk; chunk = chunk->next) chunk->free = 0;
    each_block([](Chunk* chunk, std::size_t bytes) {
        chunk->free += bytes;
        return true;
    });
    each_block([](Chunk* chunk, std::size_t) { return chunk->free < chunk->used; });
    for (Chunk** link = &chunks; Chunk* chunk = *link;) {
        if (chunk->free < chunk->used) {
            link = &chunk->next;
            continue;
        }
        *link = chunk->next;
        std::free(chunk);
        bytes_from_system.fetch_sub(large_page, std::memory_order_relaxed);
    }
}

// The size that stands before a block that says it.
std::size_t& own_size(void* block) { return static_cast<std::size_t*>(block)[-1]; }

// Memory that goes back to the system as soon as it is given back, where malloc would keep it. (A sanitizer is to see
// what is lost.)
#if defined(__unix__) && !defined(XGRAD_ADDRESS_SANITIZER)
// Whole pages, which have up to 64 kB elsewhere.
std::size_t mapped(std::size_t bytes) { return (bytes + 0xffff) / 0x10000 * 0x10000; }

void* map(std::size_t asked, std::size_t alignment) {
    const std::size_t bytes = mapped(asked);
    const std::size_t spare = alignment > page ? alignment - page : 0;
    void* const memory = mmap(nullptr, bytes + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
    char* const first = static_cast<char*>(memory);
    const std::size_t before = (alignment - reinterpret_cast<std::uintptr_t>(first) % alignment) % alignment;
    if (before > 0) munmap(first, before);
    if (before < spare) munmap(first + before + bytes, spare - before);
    return first + before;
}
void unmap(void* memory, std::size_t bytes) { munmap(memory, mapped(bytes)); }
#else
void* map(std::size_t bytes, std::size_t alignment) {
    void* memory = nullptr;
    return posix_memalign(&memory, alignment, bytes) == 0 ? memory : nullptr;
}
void unmap(void* memory, std::size_t) { std::free(memory); }
#endif

void free_to_system(void* block, std::size_t bytes) {
    bytes_from_system.fetch_sub(bytes, std::memory_order_relaxed);
    if (says_its_size(bytes)) own_bytes.fetch_sub(bytes, std::memory_order_relaxed);
    if (bytes < large) return std::free(block);
    void* const memory = static_cast<char*>(block) - before_page;
    ASAN_UNPOISON_MEMORY_REGION(memory, bytes + page);
    unmap(memory, bytes + page);
}

// A thread's own blocks. The lists stand in trivially destructible storage; `Guard` empties them when the thread ends,
// and from then on the thread uses the shared lists alone.
enum class CacheState : std::uint8_t { fresh, open, closed };
constinit thread_local FreeLists thread_lists;
constinit thread_local CacheState cache_state = CacheState::fresh;

void give_all_to_shared() {
    std::lock_guard lock(shared_mutex);
    for (std::size_t index = 0; index < class_count; ++index)
        while (void* block = thread_lists[index].pop(bytes_of_class(index)))
            shared_lists[index].push(block, bytes_of_class(index));
}

struct Guard {
    Guard() { cache_state = CacheState::open; }
    ~Guard() {
        cache_state = CacheState::closed;
        give_all_to_shared();
    }
};

bool cache_is_open() {
    if (cache_state == CacheState::fresh) {
        thread_local Guard guard;
        (void)guard;
    }
    return cache_state == CacheState::open;
}

// A block of its own. Large pages end where what was asked for ends: touched once, a large page is there as a whole.
void* from_system(std::size_t bytes, std::size_t asked) {
    void* memory = nullptr;
    if (bytes >= large)
        memory = map(bytes + page, bytes < large_page ? page : large_page);
    else if (posix_memalign(&memory, unit, bytes) != 0)
        return nullptr;
    if (!memory) return nullptr;
    system_allocations.fetch_add(1, std::memory_order_relaxed);
    bytes_from_system.fetch_add(bytes, std::memory_order_relaxed);
    if (bytes < large) return memory;
#if defined(__linux__)
    if (bytes >= large_page)
        madvise(memory, (before_page + asked) / large_page * large_page, MADV_HUGEPAGE);  // only a wish
#endif
    char* const block = static_cast<char*>(memory) + before_page;
    ASAN_POISON_MEMORY_REGION(memory, before_page - sizeof(std::size_t));
    ASAN_POISON_MEMORY_REGION(block + bytes, page - before_page);
    if (says_its_size(bytes)) {
        own_size(block) = bytes;
        own_bytes.fetch_add(bytes, std::memory_order_relaxed);
    }
    return block;
}

// A free block that is larger than those of this class, at most twice as large.
void* take_larger(std::size_t index) {
    const std::size_t end = std::min(index + 9, class_count);
    std::lock_guard lock(shared_mutex);
    while (++index < end)
        if (void* block = shared_lists[index].pop(bytes_of_class(index))) return block;
    return nullptr;
}

// By how many bytes more is free than may be.
std::size_t surplus() {
    const std::size_t in_use = own_in_use.load(std::memory_order_relaxed);
    const std::size_t all = own_bytes.load(std::memory_order_relaxed);
    const std::size_t most = in_use + own_most_in_use.load(std::memory_order_relaxed) + always_kept;
    return all > most ? all - most : 0;
}

// The largest own block that is free, and its size.
std::pair<void*, std::size_t> take_largest() {
    std::lock_guard lock(shared_mutex);
    for (std::size_t index = class_count; index-- > 0 && bytes_of_class(index) > largest_carved;)
        if (void* block = shared_lists[index].pop(bytes_of_class(index))) return {block, bytes_of_class(index)};
    return {};
}

// Frees so many bytes of own blocks, if there are as many.
void free_own_blocks(std::size_t bytes) {
    for (std::size_t freed = 0; freed < bytes;) {
        const auto [block, size] = take_largest();
        if (!block) return;
        free_to_system(block, size);
        freed += size;
    }
}

void* allocate_shared_or_new(const SizeClass& size, std::size_t asked) {
    {
        std::lock_guard lock(shared_mutex);
        if (void* block = shared_lists[size.index].pop(size.bytes)) return block;
        if (size.bytes <= largest_carved) return carve(size.bytes);
    }
    if (says_its_size(size.bytes) && surplus() > 0) {
        if (void* block = take_larger(size.index)) return block;
        free_own_blocks(surplus());
    }
    return from_system(size.bytes, asked);
}

// A block that says its size is in use from now on.
void begin_use(void* block, [[maybe_unused]] const SizeClass& asked) {
    const std::size_t bytes = own_size(block);
    ASAN_POISON_MEMORY_REGION(static_cast<char*>(block) + asked.bytes, bytes - asked.bytes);
    const std::size_t in_use = own_in_use.fetch_add(bytes, std::memory_order_relaxed) + bytes;
    std::size_t most = own_most_in_use.load(std::memory_order_relaxed);
    while (in_use > most && !own_most_in_use.compare_exchange_weak(most, in_use, std::memory_order_relaxed)) continue;
}

void* allocate_elsewhere(const SizeClass& size, std::size_t asked) {
    void* block = allocate_shared_or_new(size, asked);
    if (!block) {
        trim();
        block = allocate_shared_or_new(size, asked);
    }
    if (!block) throw std::bad_alloc();
    if (says_its_size(size.bytes)) begin_use(block, size);
    return block;
}

void give_to_shared(void* block, const SizeClass& size) noexcept {
    std::lock_guard lock(shared_mutex);
    shared_lists[size.index].push(block, size.bytes);
}

// No thread keeps these to itself, so that all that is free can be found.
void end_use(void* block) noexcept {
    const SizeClass size = size_class(own_size(block));
    own_in_use.fetch_sub(size.bytes, std::memory_order_relaxed);
    give_to_shared(block, size);
}

}  // namespace

void* allocate(std::size_t bytes) {
    if (bytes > (std::size_t{1} << 46)) throw std::bad_alloc();
    const SizeClass size = size_class(bytes);
    void* block = thread_lists[size.index].pop(size.bytes);
    if (!block) block = allocate_elsewhere(size, bytes);
    ASAN_POISON_MEMORY_REGION(static_cast<char*>(block) + bytes, size.bytes - bytes);
    return block;
}

void deallocate(void* block, std::size_t bytes) noexcept {
    const SizeClass size = size_class(bytes);
    if (says_its_size(size.bytes)) [[unlikely]]
        return end_use(block);
    FreeList& mine = thread_lists[size.index];
    if (cache_is_open() && (mine.count() + 1) * size.bytes <= cached_bytes_per_class)
        mine.push(block, size.bytes);
    else
        give_to_shared(block, size);
}

Statistics statistics() {
    return {system_allocations.load(std::memory_order_relaxed), bytes_from_system.load(std::memory_order_relaxed)};
}

void trim() {
    give_all_to_shared();
    {
        std::lock_guard lock(shared_mutex);
        trim_chunks();
    }
    free_own_blocks(std::numeric_limits<std::size_t>::max());
    own_most_in_use.store(own_in_use.load(std::memory_order_relaxed), std::memory_order_relaxed);
}

}  // namespace xgrad::memory
