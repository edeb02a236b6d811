// The products of matrices of the comparison, with the BLAS that is installed.
#include <cblas.h>
#include <cstdlib>
#include <string_view>
#include <unistd.h>

#include "matmul.hpp"

extern "C" {  // OpenBLAS's own; a plain BLAS has neither
__attribute__((weak)) char* openblas_get_config();
__attribute__((weak)) char* openblas_get_corename();
__attribute__((weak)) void openblas_set_num_threads(int threads);
}

namespace {

void multiply(peers::Product& p) {
    const auto op = [](bool transpose) { return transpose ? CblasTrans : CblasNoTrans; };
    for (std::size_t i = 0; i < p.count; ++i)
        cblas_sgemm(CblasRowMajor, op(p.transpose_a), op(p.transpose_b), static_cast<int>(p.rows),
                    static_cast<int>(p.columns), static_cast<int>(p.depth), 1.0f, p.a + i * p.rows * p.depth,
                    static_cast<int>(p.a_stride()), p.b + i * p.depth * p.columns, static_cast<int>(p.b_stride()),
                    0.0f, p.c + i * p.rows * p.columns, static_cast<int>(p.columns));
}

// On a processor that is newer than itself OpenBLAS takes its oldest kernels. It chooses when it is loaded, so the
// program starts once more with the choice made.
void ask_for_newer_kernels(char** argv) {
#if defined(__x86_64__)
    if (std::getenv("OPENBLAS_CORETYPE") || !__builtin_cpu_supports("avx2")) return;
    if (!openblas_get_corename || openblas_get_corename() != std::string_view("Prescott")) return;
    setenv("OPENBLAS_CORETYPE", __builtin_cpu_supports("avx512f") ? "SkylakeX" : "Haswell", 1);
    execv("/proc/self/exe", argv);
#endif
}

std::string name() {
    if (!openblas_get_config) return "BLAS";
    const std::string config = openblas_get_config();  // "OpenBLAS 0.3.21 NO_LAPACK …"
    return config.substr(0, config.find(' ', config.find(' ') + 1)) + " (" + openblas_get_corename() + ")";
}

}  // namespace

int main(int argc, char** argv) {
    ask_for_newer_kernels(argv);
    const auto how = peers::arguments(argc, argv);
    if (openblas_set_num_threads) openblas_set_num_threads(how.threads);
    return peers::run(name(), how,
                      [&](const peers::Case& each) { return peers::Product(each).measure(how.seconds, multiply); });
}
