#include <atomic>
#include <barrier>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <xgrad/autodiff/operations/activations.hpp>
#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/matmul.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/record.hpp>
#include <xgrad/autodiff/variable.hpp>

#include "catch.hpp"

// Assertions of Catch2 are for one thread: what others find out is checked when they have been joined.

using namespace xgrad;

namespace {

Variable<> leaf(Variable<> x) { return x.requires_grad(true); }

template <class F> void on_thread(F function) {
    std::thread(std::move(function)).join();
}

}  // namespace

TEST_CASE("each thread has a tape of its own", "[threads]") {
    const Variable<> x = leaf({1, 2});
    const Variable<> y = sum(x * x);
    std::size_t before = 1, during = 0, after = 1;
    float gradient = 0;
    on_thread([&] {
        before = Tape::current().size();
        const Variable<> mine = leaf({3});
        const Variable<> loss = sum(mine * mine);
        during = Tape::current().size();
        loss.backward();
        after = Tape::current().size();
        gradient = mine.grad().item();
    });
    CHECK(before == 0);
    CHECK(during == 2);
    CHECK(after == 0);
    CHECK(gradient == 6);
    CHECK(Tape::current().size() == 2);
}

TEST_CASE("recording and observers are switched for one thread alone", "[threads]") {
    struct Count : Observer {
        int count = 0;
        void on_record(const Recorded&) override { ++count; }
    } counted;
    const NoGrad no_grad;
    bool recording = false;
    on_thread([&] {
        recording = Tape::current().recording();
        leaf({1, 2}) * 2;
    });
    CHECK(recording);
    CHECK(counted.count == 0);
}

TEST_CASE("eight threads read the same leaves at once", "[threads]") {
    const Variable<> w = leaf({{1, 2}, {3, 4}});
    const Variable<> b = leaf({0.5f, -0.5f});
    std::vector<Variable<>> gradients(8);
    std::vector<std::thread> threads;
    std::barrier start(8);
    for (std::size_t i = 0; i < 8; ++i)
        threads.emplace_back([&, i] {
            start.arrive_and_wait();
            for (int round = 0; round < 50; ++round) {
                const Variable<> x = leaf({{static_cast<float>(i), 1}});
                const std::vector<Variable<>> parameters{w, b};
                gradients[i] = grad(sum(tanh(matmul(x, parameters[0]) + parameters[1]) * 2), x);
                const NoGrad no_grad;
                sum(matmul(x, w) + b);
            }
        });
    for (std::thread& thread : threads) thread.join();
    for (std::size_t i = 0; i < 8; ++i) {
        const Variable<> x = leaf({{static_cast<float>(i), 1}});
        const Variable<> expected = grad(sum(tanh(matmul(x, w) + b) * 2), x);
        CHECK((gradients[i].value() == expected.value()));
    }
    CHECK_FALSE(w.grad().defined());
}

TEST_CASE("backward over a graph of another thread is refused in words", "[threads]") {
    const Variable<> x = leaf({1, 2});
    const Variable<> h = x * x;
    const Variable<> y = sum(h);
    std::string message, mixed, asked;
    std::optional<Variable<>> other;
    on_thread([&] {
        const auto message_of = [](auto function) -> std::string {
            try {
                function();
            } catch (const Error& error) {
                return error.what();
            }
            return {};
        };
        message = message_of([&] { y.backward(); });
        const Variable<> mine = leaf({5, 6});
        mixed = message_of([&] { sum(mine * h + exp(mine)).backward(); });
        const Variable<> output = sum(mine * 2);
        asked = message_of([&] { grad<float>({output, y}, {mine}); });
        output.backward();
        other = mine;
    });
    CHECK_THAT(message, ContainsSubstring("'sum'") && ContainsSubstring("another thread"));
    CHECK_THAT(mixed, ContainsSubstring("another thread"));
    CHECK_THAT(asked, ContainsSubstring("another thread"));
    REQUIRE(other->grad().defined());
    CHECK((other->grad().value() == Array<>{2, 2}));
    y.backward();
    CHECK((x.grad().value() == Array<>{2, 4}));
}

TEST_CASE("a graph whose thread has ended is refused, and frees itself", "[threads]") {
    Variable<> x = leaf({1, 2});
    Variable<> y;
    on_thread([&] { y = sum(exp(x * x)); });
    CHECK_THROWS_WITH(y.backward(), ContainsSubstring("another thread"));
    CHECK(y.item() > 0);
    y = {};
    sum(x * x).backward();
    CHECK((x.grad().value() == Array<>{2, 4}));
}

TEST_CASE("a graph that another thread drops does no harm to the next backward", "[threads]") {
    const Variable<> x = leaf({1, 2});
    std::optional<Variable<>> first = sum(exp(x * 2));
    const Variable<> second = sum(x * x);
    on_thread([&] { first.reset(); });
    second.backward();  // passes the place where the dead one still stands
    CHECK((x.grad().value() == Array<>{2, 4}));
    const Variable<> third = sum(x * 3);
    third.backward();
    CHECK(Tape::current().size() == 0);
    CHECK((x.grad().value() == Array<>{5, 7}));
}

TEST_CASE("a graph that another thread drops does no harm to a backward that fails", "[threads]") {
    const Variable<> x = leaf({1, 2});
    std::optional<Variable<>> first = sum(exp(x * 2));
    const Variable<> second = record("mine", Array<>{1, 2}, wrt(x, [](const Variable<>&) -> Variable<> {
                                         throw std::runtime_error("boom");
                                     }));
    const Variable<> third = sum(second * exp(x));
    on_thread([&] { first.reset(); });
    CHECK_THROWS(third.backward({.retain_graph = true}));
    CHECK(Tape::current().size() == 4);
}

TEST_CASE("graphs are dropped by another thread while their own thread works on", "[threads]") {
    constexpr int rounds = 300;
    std::atomic<Variable<>*> mailbox{nullptr};
    std::atomic<bool> done{false};
    std::thread reaper([&] {
        while (!done || mailbox.load()) delete mailbox.exchange(nullptr);
    });
    const Variable<> x = leaf({1, 2});
    for (int i = 0; i < rounds; ++i) {
        auto* graph = new Variable<>(sum(exp(x * x) + x));
        const Variable<> loss = sum(tanh(x * x));
        delete mailbox.exchange(graph);
        loss.backward();
    }
    done = true;
    reaper.join();
    CHECK(Tape::current().size() == 0);
}

TEST_CASE("handles to the values of a graph are dropped by another thread while backward frees them", "[threads]") {
    const Variable<> x = leaf({1, 2});
    for (int i = 0; i < 200; ++i) {
        std::vector<Variable<>> hidden;
        Variable<> h = x;
        for (int k = 0; k < 10; ++k) hidden.push_back(h = k % 2 ? relu(h) : h * 1.0f);
        const Variable<> loss = sum(h);
        h = {};
        float total = 0;
        std::thread reader([&, kept = std::move(hidden)]() mutable {
            while (!kept.empty()) {
                total += kept.back().value()(0);
                kept.pop_back();
            }
        });
        loss.backward();
        reader.join();
        CHECK(total == 10);
    }
    CHECK((x.grad().value() == Array<>{200, 200}));
}

TEST_CASE("a graph is dropped while its own thread ends", "[threads]") {
    const Variable<> x = leaf({1, 2});
    for (int i = 0; i < 100; ++i) {
        std::optional<Variable<>> a, b, c;
        std::barrier ready(3);
        std::thread owner([&] {
            a = sum(exp(x * x));
            b = sum(exp(*a * x));
            c = *b * 2;
            ready.arrive_and_wait();
        });
        std::thread other([&] {
            ready.arrive_and_wait();
            a.reset();
            c.reset();
        });
        ready.arrive_and_wait();
        b.reset();
        owner.join();
        other.join();
    }
    SUCCEED();
}

TEST_CASE("a change by another thread is noticed", "[threads]") {
    Variable<> w = leaf({1, 2});
    const Variable<> x = leaf({3, 4});
    for (int i = 0; i < 5; ++i) {
        w.update([](Array<>& value) { value += 1.0f; });
        const Variable<> loss = sum(w * x);
        on_thread([&] { w.assign({5, 6}); });
        CHECK_THROWS_WITH(loss.backward(), ContainsSubstring("changed in place"));
    }
}
