#include <atomic>
#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sys/wait.h>
#include <unistd.h>
#endif

#include "catch.hpp"
#include "threads.hpp"
#include <xgrad/autodiff/error.hpp>
#include <xgrad/autodiff/kernels/threads.hpp>

using xgrad::kernels::parallel;
using xgrad::testing::Threads;

namespace {

std::vector<int> visits(std::size_t pieces) {
    std::vector<int> count(pieces, 0);
    parallel(pieces, [&](std::size_t piece) { ++count[piece]; });
    return count;
}

}  // namespace

TEST_CASE("every piece is run exactly once for any number of pieces and threads", "[threads]") {
    for (std::size_t threads : {1u, 2u, 3u, 5u, 2u, 1u, 4u}) {
        const Threads scope(threads);
        CHECK(xgrad::threads() == threads);
        for (std::size_t pieces : {0u, 1u, 2u, 3u, 7u, 64u, 1000u})
            CHECK(visits(pieces) == std::vector<int>(pieces, 1));
    }
}

TEST_CASE("many short jobs in a row lose no piece and mix with none of their neighbours", "[threads]") {
    const Threads scope(4);
    std::size_t total = 0;
    for (std::size_t job = 0; job < 3000; ++job) {
        const std::size_t pieces = 1 + job % 5;
        std::vector<std::size_t> results(pieces, 0);
        parallel(pieces, [&](std::size_t piece) { results[piece] = job + piece; });
        for (std::size_t piece = 0; piece < pieces; ++piece) total += results[piece] == job + piece;
    }
    CHECK(total == 3000 * 3);
}

namespace {

// Ends when as many threads have taken part.
void meet(std::size_t threads) {
    std::atomic<std::size_t> arrived{0};
    parallel(threads, [&](std::size_t) {
        ++arrived;
        while (arrived < threads) std::this_thread::yield();
    });
}

}  // namespace

TEST_CASE("all workers share in a loop, asleep or awake", "[threads]") {
    const Threads scope(3);
    for (int pause : {0, 1, 5}) {
        std::this_thread::sleep_for(std::chrono::milliseconds(pause));
        meet(3);
    }
    SUCCEED("it would hang");
}

TEST_CASE("a worker that sleeps is woken for a brief loop that lasts", "[threads]") {
    const Threads scope(2);
    for (int pause : {0, 1, 5}) {
        std::this_thread::sleep_for(std::chrono::milliseconds(pause));
        const auto caller = std::this_thread::get_id();
        std::atomic<bool> helped{false};
        const auto piece = [&](std::size_t i) {
            if (std::this_thread::get_id() != caller) helped = true;
            if (i == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
            while (i > 0 && !helped) std::this_thread::yield();
        };
        parallel(4, piece, true);
        CHECK(helped);
    }
}

TEST_CASE("each thread has the same share in every loop of as many pieces", "[threads]") {
    const Threads scope(2);
    const auto caller = std::this_thread::get_id();
    for (int job = 0; job < 20; ++job) {
        std::atomic<int> begun{0};
        std::atomic<bool> first{false}, last{true};
        parallel(8, [&](std::size_t piece) {
            const bool by_caller = std::this_thread::get_id() == caller;
            if (piece == 0) first = by_caller;
            if (piece == 4) last = by_caller;
            // Both threads hold a piece, hence the first one of their own share.
            ++begun;
            while (begun < 2) std::this_thread::yield();
        });
        CHECK(first);
        CHECK_FALSE(last);
    }
}

TEST_CASE("more pieces than fit in one job are run exactly once", "[threads]") {
    const Threads scope(2);
    for (std::size_t pieces : {65535u, 65536u, 200001u}) CHECK(visits(pieces) == std::vector<int>(pieces, 1));
}

TEST_CASE("a loop within a piece runs in the thread of the piece", "[threads]") {
    const Threads scope(4);
    std::atomic<int> strangers{0}, inner{0};
    parallel(8, [&](std::size_t) {
        const auto self = std::this_thread::get_id();
        parallel(5, [&](std::size_t) {
            ++inner;
            strangers += std::this_thread::get_id() != self;
        });
    });
    CHECK(inner == 40);
    CHECK(strangers == 0);
}

TEST_CASE("several user threads may run loops at the same time", "[threads]") {
    const Threads scope(3);
    std::atomic<int> wrong{0};
    std::vector<std::thread> users;
    for (int user = 0; user < 4; ++user)
        users.emplace_back([&] {
            for (int job = 0; job < 200; ++job) wrong += visits(6) != std::vector<int>(6, 1);
        });
    for (auto& user : users) user.join();
    CHECK(wrong == 0);
}

TEST_CASE("an exception in a piece reaches the caller and leaves the pool in order", "[threads]") {
    for (std::size_t threads : {1u, 4u}) {
        const Threads scope(threads);
        for (int round = 0; round < 50; ++round) {
            CHECK_THROWS_AS(parallel(20,
                                     [](std::size_t piece) {
                                         if (piece % 7 == 3) throw std::runtime_error("piece");
                                     }),
                            std::runtime_error);
            CHECK(visits(9) == std::vector<int>(9, 1));
        }
    }
}

TEST_CASE("the number of threads can change while a loop runs", "[threads]") {
    const Threads scope(2);
    parallel(4, [](std::size_t piece) { xgrad::set_threads(1 + piece); });
    CHECK(visits(10) == std::vector<int>(10, 1));
}

TEST_CASE("zero threads are refused", "[threads]") {
    const std::size_t before = xgrad::threads();
    CHECK_THROWS_AS(xgrad::set_threads(0), xgrad::Error);
    CHECK(xgrad::threads() == before);
}

// TSan does not support threads that are started after a fork.
#if defined(__linux__) && !defined(__SANITIZE_THREAD__)
TEST_CASE("a forked child has a pool of its own", "[threads]") {
    const Threads scope(3);
    meet(3);  // a worker that is still being started would leave its locks to the child, for ever taken
    const pid_t child = fork();
    if (child == 0) {
        meet(3);
        _exit(0);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
}
#endif

namespace {

// Runs after main: its failure would hang or crash the test program.
struct AtExit {
    ~AtExit() {
        xgrad::set_threads(2);
        if (visits(4) != std::vector<int>(4, 1)) std::abort();
    }
} at_exit;

}  // namespace
