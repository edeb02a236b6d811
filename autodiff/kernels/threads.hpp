// Threads for the kernels: a small pool of our own, which a loop cut into pieces is run on.
#pragma once

#include <cstddef>
#include <memory>
#include <type_traits>

namespace xgrad {

/// How many threads the kernels may use, the calling one included. From the start it is the number of processors that
/// this process may run on, or what the environment variable XGRAD_THREADS says. Throws Error when that is not a
/// whole number from 1 on.
std::size_t threads();

/// Sets the number of threads for the kernels that start from now on, in the whole process. Results do not depend on
/// it, not by a bit. A change starts new threads, which takes some 50 µs each; of more than 1024 no use is made. Throws
/// Error for 0.
void set_threads(std::size_t count);

namespace kernels {

/// Refers to a callable that takes the number of a piece, without owning or allocating anything.
class PieceFunction {
public:
    template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, PieceFunction> && std::is_invocable_v<F&, std::size_t>)
    PieceFunction(F&& function)  // NOLINT: converts, as a function's argument should
        : context_(const_cast<void*>(static_cast<const void*>(std::addressof(function)))),
          call_([](void* context, std::size_t piece) { (*static_cast<std::remove_reference_t<F>*>(context))(piece); }) {
    }

    void operator()(std::size_t piece) const { call_(context_, piece); }

private:
    friend class Pool;
    using Call = void (*)(void* context, std::size_t piece);
    PieceFunction(void* context, Call call) : context_(context), call_(call) {}

    void* context_;
    Call call_;
};

/// Runs the function for every piece from 0 to pieces - 1 and returns when all are done. The calling thread works as
/// well. Each thread begins with a share of its own, the same one in every loop of as many pieces, and then helps the
/// others. Within a piece that is shared, and while another thread of the user's keeps the pool busy, the pieces run
/// one after the other in the caller. When a piece throws, those that were not begun are left out and the caller gets
/// the exception. Cut work into the same pieces for any number of threads, then results are bitwise the same for all,
/// and into one piece where threads would cost more than they give (below some 2 µs).
///
/// Workers fall asleep some time after the last loop. A loop that is `brief` (takes the caller less than some 20 µs)
/// wakes them only when it turns out to last, or when such loops follow each other closely; so its pieces must not wait
/// for one another.
void parallel(std::size_t pieces, PieceFunction function, bool brief = false);

}  // namespace kernels
}  // namespace xgrad
