#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
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
constexpr Duration awake_for = std::chrono::microseconds(50);

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

// The pool runs one job at a time. Each thread has a share of the job's pieces, the same one in every job of as many
// pieces: what a thread wrote in one loop is in its cache when the next loop reads it. Who has none left takes from the
// others' shares. A share's ticket holds the job's number and the pieces that are still to be taken; whoever changes it
// has taken a piece. A job counts as done when its pieces are, not when every worker has seen it: a worker that the
// system keeps waiting delays nobody. It may read the fields of a job while the next one is written (hence they are
// atomic), but can then no longer change the ticket it has read.
class Pool {
public:
    static constexpr std::size_t most_pieces = 0xffff, most_threads = 1024;

    // Never destroyed: objects with static storage may use it in their destructors.
    static Pool& instance() {
        static Pool& pool = *new Pool;
        return pool;
    }

    // False, with nothing done, when the pool is busy: with another thread's job, or with the one that we are part of.
    bool try_run(std::size_t pieces, std::size_t threads, PieceFunction function, bool brief) {
        if (busy_.test_and_set(std::memory_order_acquire)) return false;
        if (wanted_ != threads) resize(threads);
        const std::uint32_t job = publish(static_cast<std::uint32_t>(pieces), function);
        Sleepers sleepers(*this, shares_for(pieces) - 1);
        brief ? sleepers.wake_if_frequent() : sleepers.wake();
        help(job, 0, [&] { sleepers.wake_if_long(); });
        finish(static_cast<std::uint32_t>(pieces));
        sleepers.note_if_left_asleep();
        const std::exception_ptr error = std::exchange(error_, nullptr);
        busy_.clear(std::memory_order_release);
        if (error) std::rethrow_exception(error);
        return true;
    }

private:
    struct alignas(64) Share {
        std::atomic<std::uint64_t> ticket{0};

        static std::uint64_t make(std::uint64_t job, std::uint64_t begin, std::uint64_t end) {
            return job << 32 | begin << 16 | end;
        }
        static std::uint32_t job(std::uint64_t ticket) { return static_cast<std::uint32_t>(ticket >> 32); }
        static std::uint32_t begin(std::uint64_t ticket) { return ticket >> 16 & 0xffff; }
        static std::uint32_t end(std::uint64_t ticket) { return ticket & 0xffff; }
    };

    // The helpers that a job lacks because they sleep. Waking one takes a system call, and it is some time until it
    // helps. So a brief job lets them sleep, unless it takes long after all, or such jobs come so often that all should
    // be awake.
    class Sleepers {
    public:
        Sleepers(Pool& pool, std::size_t helpers) : pool_(pool) {
            const std::size_t awake = pool.workers_.size() - pool.sleeping_.load();
            if (awake >= helpers) return;
            missing_ = helpers - awake;
            begin_ = Clock::now();
        }
        void wake() {
            for (; missing_ > 0; --missing_) pool_.job_.notify_one();
        }
        void wake_if_frequent() {
            if (missing_ > 0 && begin_ - pool_.last_left_asleep_ < pool_.patience()) wake();
        }
        void wake_if_long() {
            if (missing_ > 0 && Clock::now() - begin_ > std::chrono::microseconds(5)) wake();
        }
        void note_if_left_asleep() {
            if (missing_ > 0) pool_.last_left_asleep_ = Clock::now();
        }

    private:
        Pool& pool_;
        std::size_t missing_ = 0;
        Clock::time_point begin_;
    };

    Pool() {
#if defined(__unix__)
        pthread_atfork(nullptr, nullptr, [] { instance().forget_workers(); });
#endif
    }

    std::uint32_t publish(std::uint32_t pieces, PieceFunction function) {
        call_.store(function.call_, std::memory_order_relaxed);
        context_.store(function.context_, std::memory_order_relaxed);
        pieces_.store(pieces, std::memory_order_relaxed);
        done_.store(0, std::memory_order_relaxed);
        failed_.store(false, std::memory_order_relaxed);
        const std::uint32_t job = job_.load(std::memory_order_relaxed) + 1;
        const std::size_t shares = shares_for(pieces);
        const auto begin = [&](std::size_t share) { return (pieces * share + shares - 1) / shares; };
        for (std::size_t i = 0; i < shares; ++i)
            shares_[i].ticket.store(Share::make(job, begin(i), begin(i + 1)), std::memory_order_release);
        job_.store(job);
        return job;
    }

    // Of few pieces the first threads have one each.
    std::size_t shares_for(std::size_t pieces) const { return std::min(shares_.size(), pieces); }

    // Takes pieces of a job, those of the own share first.
    template <class F> void help(std::uint32_t job, std::size_t index, F after_piece) {
        const std::size_t shares = shares_for(pieces_.load(std::memory_order_relaxed));
        for (std::size_t i = 0; i < shares; ++i) {
            const std::size_t place = (index + i) % shares;
            take_from(shares_[place], job, place == index, after_piece);
        }
    }

    // The owner takes from the front, others from the back.
    template <class F> void take_from(Share& share, std::uint32_t job, bool own, F after_piece) {
        std::uint32_t taken = 0, pieces = 0;
        std::uint64_t ticket = share.ticket.load(std::memory_order_acquire);
        while (Share::job(ticket) == job && Share::begin(ticket) < Share::end(ticket)) {
            const PieceFunction function(context_.load(std::memory_order_relaxed),
                                         call_.load(std::memory_order_relaxed));
            pieces = pieces_.load(std::memory_order_relaxed);
            const std::uint64_t rest = own ? ticket + Share::make(0, 1, 0) : ticket - Share::make(0, 0, 1);
            if (!share.ticket.compare_exchange_weak(ticket, rest, std::memory_order_acq_rel, std::memory_order_acquire))
                continue;
            run(function, own ? Share::begin(ticket) : Share::end(rest));
            ++taken;
            after_piece();
            ticket = share.ticket.load(std::memory_order_acquire);
        }
        if (taken > 0 && done_.fetch_add(taken, std::memory_order_acq_rel) + taken == pieces) done_.notify_one();
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
            const std::uint32_t job = job_.load(std::memory_order_acquire);
            if (stopping_.load(std::memory_order_relaxed)) return;
            help(job, index, [] {});
            limit = await_job_after(job, limit);
        }
    }

    // Waits, and says how long to stay awake next time: where jobs are few and far between, less and less.
    Duration await_job_after(std::uint32_t job, Duration limit) {
        const auto begin = Clock::now();
        if (!spin(limit, [&] { return job_.load(std::memory_order_acquire) != job; })) {
            sleeping_.fetch_add(1);
            job_.wait(job);
            sleeping_.fetch_sub(1);
        }
        return Clock::now() - begin < awake_for ? patience() : limit / 2;
    }

    // Where threads outnumber processors, one that waits must make room at once.
    Duration patience() const { return crowded_.load(std::memory_order_relaxed) ? Duration::zero() : awake_for; }

    void resize(std::size_t threads) {
        stopping_.store(true, std::memory_order_relaxed);
        job_.fetch_add(1);
        job_.notify_all();
        for (std::thread& worker : workers_) worker.join();
        workers_.clear();
        stopping_.store(false, std::memory_order_relaxed);
        crowded_.store(threads > processors(), std::memory_order_relaxed);
        wanted_ = threads;
        try {
            shares_ = std::vector<Share>(std::min(threads, most_threads));
            workers_.reserve(shares_.size() - 1);
            while (workers_.size() + 1 < shares_.size()) workers_.emplace_back(&Pool::work, this, workers_.size() + 1);
        } catch (const std::exception&) {
            // The system grants no more threads or memory: those that there are do the work, whosever share it is, and
            // nothing is tried again until another number is wanted.
        }
    }

    // A forked child has none of the threads, and a job that was running will never be done. What they may have been
    // changing is lost: threads can be neither joined nor detached here.
    void forget_workers() {
        new (&workers_) std::vector<std::thread>;
        new (&shares_) std::vector<Share>(1);
        new (&error_) std::exception_ptr;
        wanted_ = 0;
        sleeping_.store(0);
        busy_.clear();
    }

    std::atomic_flag busy_;
    std::size_t wanted_ = 0;  // threads
    std::vector<std::thread> workers_;
    std::exception_ptr error_;
    Clock::time_point last_left_asleep_;  // when a job was last done without workers, as they slept

    alignas(64) std::vector<Share> shares_ = std::vector<Share>(1);
    std::atomic<bool> crowded_{false};  // more threads than processors

    // A job's number, in a word that one can sleep on, beside what its workers read next.
    alignas(64) std::atomic<std::uint32_t> job_{0};
    std::atomic<std::uint32_t> pieces_{0};
    std::atomic<PieceFunction::Call> call_{nullptr};
    std::atomic<void*> context_{nullptr};
    std::atomic<bool> failed_{false};
    std::atomic<bool> stopping_{false};

    alignas(64) std::atomic<std::uint32_t> sleeping_{0};
    std::atomic<std::uint32_t> done_{0};
};

void parallel(std::size_t pieces, PieceFunction function, bool brief) {
    const std::size_t count = pieces > 1 ? threads() : 1;
    std::size_t begin = 0;
    for (std::size_t size; count > 1 && begin < pieces; begin += size) {
        size = std::min(pieces - begin, Pool::most_pieces);
        const auto from_begin = [&](std::size_t piece) { function(begin + piece); };
        if (!Pool::instance().try_run(size, count, from_begin, brief)) break;
    }
    for (; begin < pieces; ++begin) function(begin);
}

}  // namespace kernels
}  // namespace xgrad
