// A training step asks the system for no memory once the first steps have filled the pool: every `new` is counted.
#include <atomic>
#include <cstdlib>
#include <new>
#include <thread>

#include <xtensor/xmath.hpp>

#include <xgrad/autodiff/kernels/threads.hpp>
#include <xgrad/xgrad.hpp>

#include "catch.hpp"

// A sanitizer's own operator new has to stay.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

namespace {

std::atomic<std::size_t> allocations{0};

void* counted(std::size_t size, std::size_t alignment) {
    allocations.fetch_add(1, std::memory_order_relaxed);
    void* memory = alignment > __STDCPP_DEFAULT_NEW_ALIGNMENT__
                       ? std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment)
                       : std::malloc(size ? size : 1);
    return memory ? memory : throw std::bad_alloc();
}

// (Inlined into a caller of `new`, it would look like a mismatch to the compiler.)
[[gnu::noinline]] void release(void* memory) noexcept { std::free(memory); }

}  // namespace

void* operator new(std::size_t size) { return counted(size, 1); }
void* operator new[](std::size_t size) { return counted(size, 1); }
void* operator new(std::size_t size, std::align_val_t alignment) { return counted(size, std::size_t(alignment)); }
void* operator new[](std::size_t size, std::align_val_t alignment) { return counted(size, std::size_t(alignment)); }
void operator delete(void* memory) noexcept { release(memory); }
void operator delete[](void* memory) noexcept { release(memory); }
void operator delete(void* memory, std::size_t) noexcept { release(memory); }
void operator delete[](void* memory, std::size_t) noexcept { release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { release(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { release(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { release(memory); }

using namespace xgrad;

namespace {

Variable<> normal(const Shape& shape) {
    Variable<> x{Array<>(shape)};
    nn::init::normal(x);
    return x;
}

Array<std::int64_t> labels(std::size_t count, std::int64_t classes) {
    Array<std::int64_t> result(Shape{count});
    for (std::size_t i = 0; i < count; ++i) result(i) = static_cast<std::int64_t>(i) % classes;
    return result;
}

// A worker keeps memory from the first product that it takes part in, and the first broadcast, whenever that is: here,
// from the start.
void warm_workers() {
    std::atomic<std::size_t> arrived{0};
    const std::size_t count = threads();
    kernels::parallel(count, [&](std::size_t) {
        ++arrived;
        while (arrived < count) std::this_thread::yield();
        const Variable<> square{full<float>(Shape{1024, 1024}, 1)};
        matmul(square, square, {.transpose_b = true});
        Parameter<> columns{full<float>(Shape{1024, 1024}, 1)};
        sum(sum(columns, 0)).backward();
    });
}

// Runs two steps, then more of which none may allocate.
template <class Step> void check_steady(Step step) {
    warm_workers();
    step();
    step();
    const std::size_t before = allocations.load(), pool = memory::statistics().system_allocations;
    for (int i = 0; i < 5; ++i) step();
    CHECK(allocations.load() - before == 0);
    CHECK(memory::statistics().system_allocations - pool == 0);
}

}  // namespace

TEST_CASE("a training step of a classifier with batch normalisation allocates nothing", "[steady]") {
    seed(1);
    const std::size_t batch = GENERATE(7, 128);
    nn::Sequential model{nn::Linear(784, 256, {.bias = false}), nn::BatchNorm(256), nn::ReLU(),
                         nn::Linear(256, 128, {.bias = false}), nn::BatchNorm(128), nn::ReLU(), nn::Linear(128, 10)};
    optim::Adam optimizer(model.parameters(), {.learning_rate = 1e-3});
    const auto x = normal({batch, 784});
    const auto y = labels(batch, 10);
    check_steady([&] { optimizer.minimize(nn::cross_entropy(model(x), y)); });
}

TEST_CASE("a training step of a regression allocates nothing", "[steady]") {
    seed(1);
    nn::Sequential model{nn::Linear(2, 32), nn::Tanh(), nn::Linear(32, 32), nn::Tanh(), nn::Linear(32, 1)};
    optim::SGD optimizer(model.parameters(), {.learning_rate = optim::cosine(1e-2, 100), .momentum = 0.9});
    const auto x = normal({32, 2}), y = normal({32, 1});
    check_steady([&] { optimizer.minimize(nn::mse_loss(model(x), y)); });
}

TEST_CASE("a training step of a binary classifier allocates nothing", "[steady]") {
    seed(1);
    nn::Sequential model{nn::Linear(2, 64), nn::SiLU(), nn::LayerNorm(64), nn::Linear(64, 64), nn::GELU(),
                         nn::Dropout(0.1), nn::Linear(64, 1)};
    optim::AdamW optimizer(model.parameters(), {.learning_rate = 1e-2, .max_grad_norm = 1});
    const auto x = normal({100, 2});
    Variable<> y{full<float>(Shape{100, 1}, 1)};
    check_steady([&] { optimizer.minimize(nn::binary_cross_entropy_with_logits(model(x), y)); });
}

TEST_CASE("a training step with a user's formula and a user's operation allocates nothing", "[steady]") {
    seed(1);
    const double a = 1, b = 1, c = 1;  // more than an operation has room for itself
    const auto snake = elementwise([=](auto x) { return a * x + b * square(sin(c * x)); }, "snake");
    const auto log_cosh = [](const Variable<>& x) {
        const Variable<> size = abs(x.detach());
        return record("log_cosh", size + log1p(exp(-2 * size)) - 0.6931472f,
                      wrt(x, [x](const Variable<>& g) { return g * tanh(x); }));
    };
    nn::Linear inner(32, 32), outer(32, 1);
    std::vector<Variable<>> parameters = inner.parameters();
    for (auto& parameter : outer.parameters()) parameters.push_back(parameter);
    optim::Adam optimizer(parameters, {.learning_rate = 1e-3});
    const auto x = normal({64, 32}), y = normal({64, 1});
    check_steady([&] { optimizer.minimize(mean(log_cosh(outer(x + snake(inner(x))) - y))); });
}

TEST_CASE("reductions, slices and softmax down any axis allocate nothing", "[steady]") {
    seed(1);
    const Parameter<> weight{normal({24, 16, 20}).value()};
    Parameter<> large{normal({512, 1024}).value()};
    check_steady([&] {
        Variable<> loss = sum(variance(weight, {0, 2})) + sum(max(weight, 1)) + mean(softmax(weight, 1) * weight) +
                          sum(logsumexp(weight, -1)) + sum(view(weight, xt::range(2, 9), xt::all(), 3)) +
                          sum(square(large)) + sum(sum(large, 0)) + sum(transpose(large));
        loss.backward();
        Variable<>(weight).zero_grad();
        large.zero_grad();
    });
}

TEST_CASE("products of slices, and many arrays joined, allocate nothing", "[steady]") {
    seed(1);
    Parameter<> weight{normal({6, 40, 5}).value()};
    const std::vector<Variable<>> parts(20, weight);
    check_steady([&] {
        Variable<> loss = sum(prod(weight, 1)) + prod(weight) + sum(prod(weight, {0, 2})) + sum(square(stack(parts, 1))) +
                          sum(square(stack({weight, weight}))) + sum(square(concatenate(parts, -1)));
        loss.backward();
        weight.zero_grad();
    });
}

TEST_CASE("inference into a caller's buffer allocates nothing", "[steady]") {
    seed(1);
    const nn::Sequential model{nn::Linear(784, 256, {.bias = false}), nn::BatchNorm(256), nn::ReLU(), nn::Linear(256, 10)};
    std::vector<float> pixels(784, 0.5f), output(10);
    check_steady([&] { model.predict(Variable<>(std::span(pixels), {1, 784}), output); });
}

#endif
