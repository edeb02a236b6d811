#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <limits>
#include <new>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#if defined(__unix__)
#include <pthread.h>
#endif
#if defined(__linux__)
#include <sched.h>
#endif

#include <fmt/format.h>

#include <xgrad/autodiff/error.hpp>
#include <xgrad/autodiff/kernels/threads.hpp>

namespace xgrad {
namespace {

std::size_t processors() {
#if defined(__linux__)
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) return static_cast<std::size_t>(CPU_COUNT(&allowed));
#endif
    const std::size_t count = std::thread::hardware_concurrency();
    return count > 0 ? count : 1;
}

std::size_t initial_threads() {
    const char* text = std::getenv("XGRAD_THREADS");
    if (text == nullptr || *text == '\0') return processors();
    std::size_t count = 0;
    const char* end = text + std::strlen(text);
    const auto [parsed, error] = std::from_chars(text, end, count);
    if (error != std::errc{} || parsed != end || count == 0)
        throw Error(fmt::format("XGRAD_THREADS: expected a number from 1, got '{}'", text));
    return count;
}

std::atomic<std::size_t>& wanted_threads() {
    static std::atomic<std::size_t> count{initial_threads()};
    return count;
}

}  // namespace

std::size_t threads() { return wanted_threads().load(std::memory_order_relaxed); }

void set_threads(std::size_t count) {
    if (count == 0) throw Error("set_threads: expected at least 1 thread, the calling one");
    wanted_threads().store(count, std::memory_order_relaxed);
}

namespace kernels {
namespace {

using Clock = std::chrono::steady_clock;
using Duration = Clock::duration;

// The kernels of a training step follow one another within microseconds: a worker that went to sleep in between would
// cost the next kernel a system call and some 10 to 50 µs of waking. So workers stay awake for this long.
constexpr Duration awake = std::chrono::microseconds(50);

void relax() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

template <class Ready> bool spin(Duration limit, Ready ready) {
    const auto end = Clock::now() + limit;
    do {
        for (int i = 0; i < 16; ++i) {
            if (ready()) return true;
            relax();
        }
    } while (Clock::now() < end);
    return ready();
}

}  // namespace

// The pool runs one job at a time. Its ticket holds the job's number and how many of its pieces are still to be taken;
// whoever lowers the ticket has taken a piece. A job counts as done when its pieces are, not when every worker has seen
// it: a worker that the system keeps waiting delays nobody. It may read the fields of a job while the next one is
// written (hence they are atomic), but can then no longer lower the ticket it has read.
class Pool {
public:
    // Never destroyed: objects with static storage may use it in their destructors.
    static Pool& instance() {
        static Pool& pool = *new Pool;
        return pool;
    }

    // False, with nothing done, when the pool is busy: with another thread's job, or with the one that we are part of.
    bool try_run(std::size_t pieces, std::size_t threads, PieceFunction function) {
        if (busy_.test_and_set(std::memory_order_acquire)) return false;
        if (workers_.size() + 1 != threads) resize(threads - 1);
        publish(static_cast<std::uint32_t>(pieces), function);
        help();
        finish(static_cast<std::uint32_t>(pieces));
        const std::exception_ptr error = std::exchange(error_, nullptr);
        busy_.clear(std::memory_order_release);
        if (error) std::rethrow_exception(error);
        return true;
    }

private:
    Pool() {
#if defined(__unix__)
        pthread_atfork(nullptr, nullptr, [] { instance().forget_workers(); });
#endif
    }

    void publish(std::uint32_t pieces, PieceFunction function) {
        call_.store(function.call_, std::memory_order_relaxed);
        context_.store(function.context_, std::memory_order_relaxed);
        pieces_.store(pieces, std::memory_order_relaxed);
        done_.store(0, std::memory_order_relaxed);
        failed_.store(false, std::memory_order_relaxed);
        announce(pieces);
    }

    void announce(std::uint32_t pieces) {
        const auto job = static_cast<std::uint32_t>(ticket_.load(std::memory_order_relaxed) >> 32) + 1;
        ticket_.store(std::uint64_t{job} << 32 | pieces, std::memory_order_release);
        job_.store(job);
        job_.notify_all();  // no system call when nobody sleeps
    }

    void help() {
        std::uint64_t ticket = ticket_.load(std::memory_order_acquire);
        while (const auto left = static_cast<std::uint32_t>(ticket)) {
            const PieceFunction function(context_.load(std::memory_order_relaxed),
                                         call_.load(std::memory_order_relaxed));
            const std::uint32_t pieces = pieces_.load(std::memory_order_relaxed);
            if (!ticket_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acq_rel,
                                               std::memory_order_acquire))
                continue;
            run(function, pieces - left);
            if (done_.fetch_add(1, std::memory_order_acq_rel) + 1 == pieces) done_.notify_one();
            ticket = ticket_.load(std::memory_order_acquire);
        }
    }

    void run(PieceFunction function, std::uint32_t piece) noexcept {
        if (failed_.load(std::memory_order_relaxed)) return;
        try {
            function(piece);
        } catch (...) {
            if (!failed_.exchange(true, std::memory_order_relaxed)) error_ = std::current_exception();
        }
    }

    void finish(std::uint32_t pieces) {
        const auto done = [&] { return done_.load(std::memory_order_acquire) == pieces; };
        if (spin(patience(), done)) return;
        for (std::uint32_t count; (count = done_.load(std::memory_order_acquire)) != pieces;)
            done_.wait(count, std::memory_order_acquire);
    }

    void work(std::size_t index) {
        Duration limit = patience();
        for (;;) {
            // Read before everything that an announcement is about, so that none is slept through.
            const auto job = static_cast<std::uint32_t>(ticket_.load(std::memory_order_acquire) >> 32);
            if (index >= limit_.load(std::memory_order_relaxed)) return;
            help();
            limit = await_job_after(job, limit);
        }
    }

    // Waits, and says how long to stay awake next time: where jobs are few and far between, less and less.
    Duration await_job_after(std::uint32_t job, Duration limit) {
        const auto begin = Clock::now();
        if (!spin(limit, [&] { return job_.load(std::memory_order_acquire) != job; }))
            job_.wait(job, std::memory_order_acquire);
        return Clock::now() - begin < awake ? patience() : limit / 2;
    }

    // Where threads outnumber processors, one that waits must make room at once.
    Duration patience() const { return crowded_.load(std::memory_order_relaxed) ? Duration::zero() : awake; }

    void resize(std::size_t count) {
        crowded_.store(count >= processors(), std::memory_order_relaxed);
        limit_.store(count, std::memory_order_relaxed);
        if (workers_.size() > count) announce(0);
        while (workers_.size() > count) {
            workers_.back().join();
            workers_.pop_back();
        }
        try {
            workers_.reserve(count);
            while (workers_.size() < count) workers_.emplace_back(&Pool::work, this, workers_.size());
        } catch (const std::exception&) {
            // The system grants no more threads or memory: those that there are do the work.
        }
    }

    // A forked child has none of the threads, and a job that was running will never be done.
    void forget_workers() {
        new (&workers_)
            std::vector<std::thread>;  // the old one is lost: its threads can be neither joined nor detached
        ticket_.store(ticket_.load() >> 32 << 32);
        busy_.clear();
    }

    std::atomic_flag busy_;
    std::vector<std::thread> workers_;
    std::atomic<std::size_t> limit_{0};  // workers with an index from here on end
    std::atomic<bool> crowded_{false};   // more threads than processors
    std::exception_ptr error_;

    std::atomic<PieceFunction::Call> call_{nullptr};
    std::atomic<void*> context_{nullptr};
    std::atomic<std::uint32_t> pieces_{0};
    std::atomic<bool> failed_{false};

    alignas(64) std::atomic<std::uint64_t> ticket_{0};
    alignas(64) std::atomic<std::uint32_t> job_{0};  // the ticket's job once more, in a word that one can sleep on
    alignas(64) std::atomic<std::uint32_t> done_{0};
};

void parallel(std::size_t pieces, PieceFunction function) {
    const std::size_t count = pieces > 1 ? threads() : 1;
    if (count > 1 && pieces <= std::numeric_limits<std::uint32_t>::max() &&
        Pool::instance().try_run(pieces, count, function))
        return;
    for (std::size_t piece = 0; piece < pieces; ++piece) function(piece);
}

}  // namespace kernels
}  // namespace xgrad
