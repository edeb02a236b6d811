// A training loop reaches a steady state: neither memory nor the tape grows, and nothing is asked of the system.
#include <unistd.h>

#include <fstream>

#include <xgrad/xgrad.hpp>

#include "catch.hpp"

using namespace xgrad;

namespace {

std::size_t resident_bytes() {
    std::size_t total = 0, resident = 0;
    std::ifstream("/proc/self/statm") >> total >> resident;
    return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

// A sanitizer's own records grow as well, so there only what the library itself asks for is held.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;
constexpr int early = 200, late = 2000;
#else
constexpr bool sanitized = false;
constexpr int early = 1000, late = 100000;
#endif

}  // namespace

TEST_CASE("a hundred thousand training steps take no more memory than a thousand", "[steady]") {
    seed(1);
    nn::Sequential model{nn::Linear(2, 32), nn::Tanh(), nn::Linear(32, 32), nn::BatchNorm(32), nn::ReLU(), nn::Linear(32, 1)};
    optim::Adam optimizer(model.parameters(), {.learning_rate = 1e-3});
    Variable<> x(Array<>(Shape{32, 2})), y(Array<>(Shape{32, 1}));
    nn::init::normal(x);
    nn::init::normal(y);

    std::size_t resident = 0, allocations = 0;
    for (int step = 1; step <= late; ++step) {
        optimizer.minimize(nn::mse_loss(model(x), y));
        if (step == early) {
            resident = resident_bytes();
            allocations = memory::statistics().system_allocations;
        }
        if (step % early == 0) REQUIRE(Tape::current().size() == 0);
    }
    const std::size_t growth = std::max(resident_bytes(), resident) - resident;
    INFO("resident " << resident / 1024 << " KiB after " << early << " steps, " << growth / 1024 << " KiB more after " << late);
    if (!sanitized) CHECK(growth <= 256 * 1024);
    CHECK(memory::statistics().system_allocations == allocations);
}

TEST_CASE("a model that is only run forward leaves nothing on the tape", "[steady]") {
    seed(1);
    nn::Linear layer(4, 4);
    Variable<> x(Array<>(Shape{3, 4}, 0.5f));
    for (int step = 0; step < 1000; ++step) {
        const Variable<> loss = sum(layer(x));
        REQUIRE(Tape::current().size() == 2);
        REQUIRE(loss.requires_grad());
    }
    CHECK(Tape::current().size() == 0);
}
