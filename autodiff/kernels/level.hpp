// Instruction-set levels: every *.simd.cpp in this folder is compiled once per level, each time in the namespace of its
// level, and the best level that the processor has is chosen on first use.
#pragma once

#include <atomic>
#include <string_view>

// The level of the code being compiled, from the compiler's flags. All that a *.simd.cpp defines, and every template
// that it instantiates, stands in namespace XGRAD_LEVEL: a symbol shared by two levels would let the linker keep the
// AVX-512 one and crash a machine without it.
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define XGRAD_LEVEL avx512
#elif defined(__AVX2__) && defined(__FMA__)
#define XGRAD_LEVEL avx2
#else
#define XGRAD_LEVEL portable
#endif

// Inlines all that a function calls: a lane that is handed over in memory costs more than what is done with it. Under a
// sanitizer, which checks every step, that would only make functions so large that compiling them takes minutes.
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define XGRAD_FLATTEN [[gnu::flatten]]
#else
#define XGRAD_FLATTEN
#endif

namespace xgrad {

/// An instruction set that the kernels are compiled for. `amx` is avx512 with a matrix unit for products of single
/// precision (see kernels/gemm_amx.hpp).
enum class Level { portable, avx2, avx512, amx };

namespace detail {

/// The level in use as a number; −1 before it is first asked for, which chooses it.
extern std::atomic<int> level_in_use;
Level choose_level();

}  // namespace detail

/// The level in use: set_level's, else the one that the environment variable XGRAD_LEVEL names (portable, avx2, avx512
/// or amx), else the best that there is. Throws Error when the variable names one that is unknown or not available.
inline Level level() {
    const int in_use = detail::level_in_use.load(std::memory_order_relaxed);
    return in_use >= 0 ? static_cast<Level>(in_use) : detail::choose_level();
}

/// Chooses another level, for all threads; not while any of them computes. Throws Error when the processor lacks it.
void set_level(Level level);

/// The level's name, as in XGRAD_LEVEL.
std::string_view name(Level level);

/// Whether this processor, its system and this build of the library have the level. The first time it is asked for `amx`,
/// Linux grants the process the registers of the matrix unit, or not.
bool available(Level level);

}  // namespace xgrad

// How a family of kernels reaches its levels. In its header:
//
//     template <class T> struct ReduceKernels { void (*sum)(…); … };                       the functions, as pointers
//     XGRAD_AT_EVERY_LEVEL(template <class T> const ReduceKernels<T>& reduce_kernels();)    one table per level
//     template <class T> const ReduceKernels<T>& reduce_kernels() { XGRAD_SELECT(reduce_kernels<T>()) }
//
// and in its *.simd.cpp, in namespace xgrad::kernels::XGRAD_LEVEL, the definition of the table.
#if defined(__x86_64__)
#define XGRAD_AT_EVERY_LEVEL(...) \
    namespace portable { __VA_ARGS__ } \
    namespace avx2 { __VA_ARGS__ } \
    namespace avx512 { __VA_ARGS__ }
#define XGRAD_SELECT(...)                               \
    switch (level()) {                                  \
        case Level::amx:                                \
        case Level::avx512: return avx512::__VA_ARGS__; \
        case Level::avx2: return avx2::__VA_ARGS__;     \
        case Level::portable: break;                    \
    }                                                   \
    return portable::__VA_ARGS__;
#else
#define XGRAD_AT_EVERY_LEVEL(...) namespace portable { __VA_ARGS__ }
#define XGRAD_SELECT(...) return static_cast<void>(level()), portable::__VA_ARGS__;
#endif
