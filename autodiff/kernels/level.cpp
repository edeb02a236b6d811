#include <array>
#include <atomic>
#include <cstdlib>
#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <fmt/format.h>

#include <xgrad/autodiff/error.hpp>
#include <xgrad/autodiff/kernels/level.hpp>

namespace xgrad {
namespace {

constexpr std::array levels{Level::amx, Level::avx512, Level::avx2, Level::portable};  // the best first

#if defined(__x86_64__)
// Whether the processor has a matrix unit for bfloat16, and Linux grants its registers, which a process has to ask for.
bool has_matrix_unit() {
#if defined(__linux__)
    unsigned a = 0, b = 0, c = 0, d = 0;
    constexpr unsigned amx_bf16 = 1u << 22, amx_tile = 1u << 24;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & amx_bf16) || !(d & amx_tile)) return false;
    constexpr long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, of Linux 5.16
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
    return false;
#endif
}
#endif

void check_available(const char* what, Level level) {
    if (!available(level))
        throw Error(fmt::format("{}: this processor, system or build has no level '{}'", what, name(level)));
}

Level best_level() {
    if (const char* wanted = std::getenv("XGRAD_LEVEL")) {
        for (Level level : levels) {
            if (name(level) != wanted) continue;
            check_available("XGRAD_LEVEL", level);
            return level;
        }
        throw Error(fmt::format("XGRAD_LEVEL: unknown level '{}'; expected portable, avx2, avx512 or amx", wanted));
    }
    for (Level level : levels)
        if (available(level)) return level;
    return Level::portable;
}

}  // namespace

constinit std::atomic<int> detail::level_in_use{-1};

Level detail::choose_level() {
    const Level best = best_level();
    int expected = -1;  // unless another thread, or set_level, has been faster
    level_in_use.compare_exchange_strong(expected, static_cast<int>(best), std::memory_order_relaxed);
    return static_cast<Level>(level_in_use.load(std::memory_order_relaxed));
}

void set_level(Level level) {
    check_available("set_level", level);
    detail::level_in_use.store(static_cast<int>(level), std::memory_order_relaxed);
}

std::string_view name(Level level) {
    switch (level) {
        case Level::amx: return "amx";
        case Level::avx512: return "avx512";
        case Level::avx2: return "avx2";
        case Level::portable: break;
    }
    return "portable";
}

bool available(Level level) {
#if defined(__x86_64__)
    if (level == Level::amx) {
        static const bool has_unit = available(Level::avx512) && has_matrix_unit();
        return has_unit;
    }
    if (level == Level::avx512)
        return available(Level::avx2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512cd");
    if (level == Level::avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return level == Level::portable;
}

}  // namespace xgrad
