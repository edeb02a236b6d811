#include <array>
#include <cstdlib>

#include <fmt/format.h>

#include <xgrad/autodiff/error.hpp>
#include <xgrad/autodiff/kernels/level.hpp>

namespace xgrad {
namespace {

constexpr std::array levels{Level::avx512, Level::avx2, Level::portable};  // the best first

Level choose() {
    if (const char* wanted = std::getenv("XGRAD_LEVEL")) {
        for (Level level : levels) {
            if (name(level) != wanted) continue;
            if (!available(level))
                throw Error(fmt::format("XGRAD_LEVEL: this processor or build has no level '{}'", wanted));
            return level;
        }
        throw Error(fmt::format("XGRAD_LEVEL: unknown level '{}'; expected portable, avx2 or avx512", wanted));
    }
    for (Level level : levels)
        if (available(level)) return level;
    return Level::portable;
}

}  // namespace

Level level() {
    static const Level chosen = choose();
    return chosen;
}

std::string_view name(Level level) {
    switch (level) {
        case Level::avx512: return "avx512";
        case Level::avx2: return "avx2";
        case Level::portable: break;
    }
    return "portable";
}

bool available(Level level) {
#if defined(__x86_64__)
    if (level == Level::avx512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (level == Level::avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return level == Level::portable;
}

}  // namespace xgrad
