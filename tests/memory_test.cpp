#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sys/wait.h>
#include <unistd.h>
#endif

#include <xgrad/autodiff/memory.hpp>
#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/matmul.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/variable.hpp>

#include "catch.hpp"

using namespace xgrad;

namespace {

// Objects that live longer than the tape, and than the pool's cache, of their threads.
Variable<> static_graph;
Array<> static_array;

struct LateVariable {
    Variable<> graph;
    Array<> array;
};
thread_local LateVariable late;  // constructed before its thread has touched the pool, so destroyed after the cache

// Allocates from the pool when its thread's cache is long gone.
struct LateWorker {
    bool used = false;
    ~LateWorker() {
        if (!used) return;
        void* block = memory::allocate(100);
        std::memset(block, 1, 100);
        memory::deallocate(block, 100);
        const Variable<> x{1, 2};
        sum(x * x);
    }
};
thread_local LateWorker late_worker;

}  // namespace

TEST_CASE("blocks of the pool are aligned to 64 bytes and hold what was asked for", "[memory]") {
    std::vector<std::pair<unsigned char*, std::size_t>> blocks;
    std::vector<std::size_t> sizes{60'000, 66'000, 70'000, 200'000, 262'144, 262'145, 300'000, 2'000'000};
    for (std::size_t bytes = 0; bytes < 5000; bytes += bytes < 300 ? 1 : 37) sizes.push_back(bytes);
    for (std::size_t i = 0; i < 100; ++i) sizes.push_back(i % 3 == 0 ? 100 : 65'536);
    for (const std::size_t bytes : sizes) {
        auto* block = static_cast<unsigned char*>(memory::allocate(bytes));
        const auto address = reinterpret_cast<std::uintptr_t>(block);
        CHECK(address % 64 == 0);
        if (bytes >= 65'536) CHECK(address % 4096 == 4096 - 64);  // elements behind a head of 64 bytes begin a page
        std::memset(block, static_cast<int>(blocks.size() % 251), bytes);
        blocks.emplace_back(block, bytes);
    }
    bool intact = true;
    for (std::size_t n = 0; n < blocks.size(); ++n)
        for (std::size_t i = 0; i < blocks[n].second; ++i) intact = intact && blocks[n].first[i] == n % 251;
    CHECK(intact);
    for (auto [block, bytes] : blocks) memory::deallocate(block, bytes);
}

TEST_CASE("every size up to some megabytes gets a block that is big enough, and its class is found again", "[memory]") {
    for (int power = 6; power < 24; ++power)
        for (std::ptrdiff_t off : {-65, -64, -63, -1, 0, 1, 63, 64, 65}) {
            const std::size_t bytes = static_cast<std::size_t>((std::ptrdiff_t{1} << power) + off + 64);
            auto* block = static_cast<char*>(memory::allocate(bytes));
            block[0] = block[bytes - 1] = 1;
            memory::deallocate(block, bytes);
            CHECK(memory::allocate(bytes) == block);
            memory::deallocate(block, bytes);
        }
}

TEST_CASE("a block that was given back is the next one of its size", "[memory]") {
    void* first = memory::allocate(1000);
    memory::deallocate(first, 1000);
    void* second = memory::allocate(1010);
    CHECK(second == first);
    memory::deallocate(second, 1010);
}

TEST_CASE("a training loop allocates nothing from the system after its first steps", "[memory]") {
    Variable<> w = Variable<>(Array<>(Shape{30, 20}, 0.5f)).requires_grad(true);
    const Variable<> x = Array<>(Shape{8, 30}, 1.0f);
    const auto step = [&] {
        const Variable<> loss = mean(square(matmul(x, w)));
        w.zero_grad();
        loss.backward();
        w.update([&](Array<>& value) { value -= 0.01f * w.grad().value(); });
    };
    for (int i = 0; i < 3; ++i) step();
    const auto before = memory::statistics();
    for (int i = 0; i < 100; ++i) step();
    CHECK(memory::statistics().system_allocations == before.system_allocations);
    CHECK(memory::statistics().bytes_from_system == before.bytes_from_system);
}

// TSan does not support threads that are started after a fork.
#if defined(__linux__) && !defined(__SANITIZE_THREAD__)
TEST_CASE("a process may be forked while another thread allocates", "[memory]") {
    constexpr std::size_t large = 8u << 20;  // no thread keeps such a block to itself
    std::atomic<bool> done{false};
    std::thread other([&] {
        while (!done) memory::deallocate(memory::allocate(large), large);
    });
    int finished = 0;
    for (int i = 0; i < 100; ++i) {
        const pid_t child = fork();
        if (child == 0) {
            alarm(20);  // ends a child that waits for ever
            memory::deallocate(memory::allocate(large), large);
            _exit(0);
        }
        int status = 0;
        if (waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0) ++finished;
        if (finished <= i) break;
    }
    done = true;
    other.join();
    CHECK(finished == 100);
}
#endif

TEST_CASE("blocks that another thread gives back do not pile up", "[memory]") {
    const auto round = [] {
        std::vector<void*> blocks;
        for (int i = 0; i < 50; ++i) blocks.push_back(memory::allocate(100'000));
        std::thread([&] {
            for (void* block : blocks) memory::deallocate(block, 100'000);
        }).join();
    };
    round();
    const auto before = memory::statistics();
    for (int i = 0; i < 20; ++i) round();
    CHECK(memory::statistics().system_allocations == before.system_allocations);
}

TEST_CASE("what a thread has cached serves others after its end", "[memory]") {
    constexpr std::size_t bytes = 77'777;
    memory::trim();
    std::thread([] {
        std::vector<void*> blocks;
        for (int i = 0; i < 10; ++i) blocks.push_back(memory::allocate(bytes));
        for (void* block : blocks) memory::deallocate(block, bytes);
    }).join();
    const auto before = memory::statistics();
    std::vector<void*> blocks;
    for (int i = 0; i < 10; ++i) blocks.push_back(memory::allocate(bytes));
    CHECK(memory::statistics().system_allocations == before.system_allocations);
    for (void* block : blocks) memory::deallocate(block, bytes);
}

TEST_CASE("objects may outlive the tape and the cache of their thread", "[memory][tape]") {
    std::thread([] {
        late_worker.used = true;  // constructed first of all, so destroyed last
        late.array = Array<>(Shape{100}, 1.0f);
        const Variable<> x = Variable<>{1, 2, 3}.requires_grad(true);
        late.graph = sum(x * x);
        static_graph = sum(exp(x));  // goes when the program ends
    }).join();
    static_array = Array<>(Shape{100}, 1.0f);
    CHECK(static_graph.defined());
}

TEST_CASE("backward through linear and relu needs no more than the result and the gradients", "[memory]") {
    constexpr std::size_t size = 1024, bytes = size * size * sizeof(float);
    Variable<> x = full(Shape{size, size}, 1.0f), weight = x.detach();
    x.requires_grad(true);
    weight.requires_grad(true);
    const auto step = [&] {
        x.zero_grad();
        weight.zero_grad();
        memory::trim();
        const auto before = memory::statistics();
        const Variable<> total = sum(linear(x, weight, {}, Activation::relu));
        total.backward();
        return memory::statistics().bytes_from_system - before.bytes_from_system;
    };
    step();  // the first product gets its thread's workspace
    // The cotangents of the result and of the weight, and that of x in the place of the result; and small blocks.
    CHECK(step() < 4 * bytes + memory::large_page);
    CHECK(x.grad().value().data()[0] == size);
}

TEST_CASE("gradients of linear operations that can be differentiated again keep no cotangents", "[memory]") {
    constexpr std::size_t size = 1 << 20, bytes = size * sizeof(float);
    Variable<> x = full(Shape{size}, 1.0f);
    const Variable<> constant = x.detach();
    x.requires_grad(true);
    const std::pair<const char*, std::function<Variable<>(const Variable<>&)>> functions[] = {
        {"-x", [](const Variable<>& y) { return -y; }},
        {"2 x", [](const Variable<>& y) { return y * 2; }},
        {"x / 2", [](const Variable<>& y) { return y / 2; }},
        {"x c", [&](const Variable<>& y) { return y * constant; }},
        {"x / c", [&](const Variable<>& y) { return y / constant; }},
        {"c - x", [&](const Variable<>& y) { return constant - y; }},
    };
    for (const auto& [name, function] : functions) {
        INFO(name);
        memory::trim();
        const auto before = memory::statistics();
        Variable<> y = x;
        for (int i = 0; i < 16; ++i) y = function(y);
        const Variable<> gradient = grad(sum(y), x, {.create_graph = true});
        CHECK(memory::statistics().bytes_from_system < before.bytes_from_system + 8 * bytes);
    }
}

TEST_CASE("a size that no machine has is refused and does not overflow", "[memory]") {
    constexpr std::size_t most = std::numeric_limits<std::size_t>::max();
    for (std::size_t bytes : {most, most - 1, most - 63, most - 64, most / 2, most / 8, std::size_t{1} << 47})
        CHECK_THROWS_AS(memory::allocate(bytes), std::bad_alloc);
    CHECK_THROWS_AS(memory::Allocator<double>().allocate(most / 8 + 2), std::bad_alloc);
    CHECK_THROWS_AS(memory::Allocator<double>().allocate(most), std::bad_alloc);
    for (std::size_t size : {most, most / 4 + 1, most / 4, most / 4 - 8, most / 8})
        CHECK_THROWS_AS(Buffer<float>(size), std::bad_alloc);
}

TEST_CASE("small blocks go back to the system once all of them are free that share a large page", "[memory]") {
    memory::trim();
    const auto before = memory::statistics();
    const std::size_t sizes[] = {100, 50'000, 65'536, 200'000};
    std::vector<std::pair<void*, std::size_t>> blocks;
    for (int i = 0; i < 100; ++i)
        for (std::size_t bytes : sizes) blocks.emplace_back(memory::allocate(bytes), bytes);
    const auto held = memory::statistics();
    CHECK(held.system_allocations >= before.system_allocations + 100);
    // 31.6 million bytes, and what sizes of blocks and ends of pages waste; some may stand in pages that are held already.
    CHECK(held.bytes_from_system >= before.bytes_from_system + 20'000'000);
    CHECK(held.bytes_from_system <= before.bytes_from_system + 40'000'000);
    auto [kept, bytes] = blocks.back();  // keeps its large page, at most
    blocks.pop_back();
    std::memset(kept, 7, bytes);
    for (auto [block, size] : blocks) memory::deallocate(block, size);
    memory::trim();
    CHECK(memory::statistics().bytes_from_system <= before.bytes_from_system + memory::large_page);
    CHECK(static_cast<unsigned char*>(kept)[bytes - 1] == 7);
    memory::deallocate(kept, bytes);
    memory::trim();
    CHECK(memory::statistics().bytes_from_system == before.bytes_from_system);
}

TEST_CASE("threads may take and give back blocks while another trims", "[memory]") {
    memory::trim();
    const auto before = memory::statistics();
    std::atomic<int> running{3};
    std::atomic<bool> intact{true};
    const auto work = [&](unsigned char mark) {
        const std::size_t sizes[] = {64, 1000, 40'000, 65'536, 250'000, 300'000};
        std::vector<std::pair<unsigned char*, std::size_t>> blocks;
        for (int i = 0; i < 300; ++i) {
            const std::size_t bytes = sizes[static_cast<std::size_t>(i) * 7 % 6];
            blocks.emplace_back(static_cast<unsigned char*>(memory::allocate(bytes)), bytes);
            blocks.back().first[0] = blocks.back().first[bytes - 1] = mark;
            if (i % 20 != 19) continue;
            for (auto [block, size] : blocks) {
                if (block[0] != mark || block[size - 1] != mark) intact = false;
                memory::deallocate(block, size);
            }
            blocks.clear();
            memory::trim();
        }
        --running;
    };
    std::vector<std::thread> threads;
    for (unsigned char mark = 1; mark <= 3; ++mark) threads.emplace_back(work, mark);
    while (running > 0) memory::trim();
    for (std::thread& thread : threads) thread.join();
    CHECK(intact);
    memory::trim();
    CHECK(memory::statistics().bytes_from_system == before.bytes_from_system);
}

TEST_CASE("trim returns what is cached to the system, and the pool goes on", "[memory]") {
    memory::trim();
    const auto before = memory::statistics();
    std::vector<void*> blocks;
    for (int i = 0; i < 5; ++i) blocks.push_back(memory::allocate(3'000'000));
    CHECK(memory::statistics().bytes_from_system >= before.bytes_from_system + 15'000'000);
    for (void* block : blocks) memory::deallocate(block, 3'000'000);
    CHECK(memory::statistics().bytes_from_system >= before.bytes_from_system + 15'000'000);
    memory::trim();
    CHECK(memory::statistics().bytes_from_system == before.bytes_from_system);
    void* block = memory::allocate(3'000'000);
    static_cast<char*>(block)[2'999'999] = 1;
    memory::deallocate(block, 3'000'000);
}

TEST_CASE("blocks of ever new sizes do not pile up", "[memory]") {
    memory::trim();
    const std::size_t before = memory::statistics().bytes_from_system;
    std::size_t most = 0, held = 0, size = 1;
    for (int step = 0; step < 1000; ++step) {
        size = size * 16'807 % 40'000'000;
        std::vector<std::pair<void*, std::size_t>> blocks;
        std::size_t in_use = 0;
        for (std::size_t i = 1; i <= 4; ++i) {
            const std::size_t bytes = size / i + 300'000;
            blocks.emplace_back(memory::allocate(bytes), bytes);
            static_cast<char*>(blocks.back().first)[bytes - 1] = 1;
            in_use += bytes;
            held = std::max(held, memory::statistics().bytes_from_system - before);
        }
        most = std::max(most, in_use);
        for (const auto& [block, bytes] : blocks) memory::deallocate(block, bytes);
    }
    CAPTURE(most, held);
    // As much again, what is always kept, and by how much blocks are larger than what was asked for.
    CHECK(held < 2 * (most + most / 8) + (40u << 20));
    memory::trim();  // knows the size of each, also of those that served smaller requests
    CHECK(memory::statistics().bytes_from_system == before);
}

TEST_CASE("small arrays that stay do not hold ever more large blocks", "[memory]") {
    memory::trim();
    const std::size_t before = memory::statistics().bytes_from_system, small = 300'000;
    const std::vector<std::size_t> sizes{50'000'000, 60'000'000, 80'000'000, 100'000'000};  // more than is kept of them
    std::vector<void*> kept;
    for (int step = 0; step < 50; ++step) {
        for (const std::size_t large : sizes) memory::deallocate(memory::allocate(large), large);
        kept.push_back(memory::allocate(small));
    }
    CHECK(memory::statistics().bytes_from_system - before < 2 * (sizes.back() + sizes.back() / 8) + (64u << 20));
    for (void* block : kept) memory::deallocate(block, small);
    memory::trim();
    CHECK(memory::statistics().bytes_from_system == before);
}
