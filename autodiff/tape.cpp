#include <mutex>
#include <string>
#include <utility>

#include <fmt/format.h>

#include <xgrad/autodiff/tape.hpp>

namespace xgrad {
namespace detail {

// A tape outlives its thread as long as nodes are on it. Only its own thread works on it, without a lock; others hand
// their dead nodes over through `foreign_`. When the thread is gone, whoever drops a node works under the lock.
class TapeState {
public:
    void append(Node* node) {
        if (foreign_.load(std::memory_order_relaxed)) bury_foreign();
        node->tape = this;
        node->place = ++last_place_;
        node->previous = last_;
        node->next = nullptr;
        if (last_) last_->next = node;
        last_ = node;
        ++size_;
    }
    void unlink(Node* node) noexcept {
        if (node->previous) node->previous->next = node->next;
        if (node->next)
            node->next->previous = node->previous;
        else
            last_ = node->previous;
        node->tape = nullptr;
        node->previous = node->next = nullptr;
        --size_;
    }

    /// A node of this tape that died on a thread which does not own it.
    void bury(Node* node) noexcept {
        std::unique_lock lock(mutex_);
        if (has_thread_) {
            dead_.push(node);
            foreign_.store(true, std::memory_order_relaxed);
            return;
        }
        unlink(node);
        const bool last = size_ == 0;
        lock.unlock();
        if (last) delete this;
        Node::destroy(node);
    }
    void bury_foreign() noexcept {
        for (;;) {
            Node* node;
            {
                std::lock_guard lock(mutex_);
                node = dead_.pop();
                if (!node) {
                    foreign_.store(false, std::memory_order_relaxed);
                    return;
                }
            }
            unlink(node);
            Node::destroy(node);
        }
    }
    /// The thread ends.
    void retire() noexcept {
        std::unique_lock lock(mutex_);
        while (Node* node = dead_.pop()) {
            lock.unlock();
            unlink(node);
            Node::destroy(node);
            lock.lock();
        }
        has_thread_ = false;
        const bool last = size_ == 0;
        lock.unlock();
        if (last) delete this;
    }
    std::string unlisted;  // see report_unlisted

    std::size_t size() noexcept {
        if (foreign_.load(std::memory_order_relaxed)) bury_foreign();
        return size_;
    }

private:
    // Nodes that nothing reaches. They are still links of the tape: a dead node's place serves as the link of this list.
    class DeadStack {
    public:
        void push(Node* node) noexcept {
            node->place = reinterpret_cast<std::uintptr_t>(first_);
            first_ = node;
        }
        Node* pop() noexcept {
            Node* node = first_;
            if (node) first_ = reinterpret_cast<Node*>(static_cast<std::uintptr_t>(node->place));
            return node;
        }

    private:
        Node* first_ = nullptr;
    };

    Node* last_ = nullptr;
    std::size_t size_ = 0;
    std::uint64_t last_place_ = 0;

    std::mutex mutex_;
    DeadStack dead_;
    std::atomic<bool> foreign_{false};
    bool has_thread_ = true;
};

namespace {

TapeState& open_tape() {
    struct Guard {
        ~Guard() {
            thread_state.tape->retire();
            thread_state.tape = nullptr;
        }
    };
    if (!thread_state.tape) {
        thread_state.tape = new TapeState;
        thread_local Guard guard;
        (void)guard;
    }
    return *thread_state.tape;
}

}  // namespace

void append_to_tape(Node* node) { open_tape().append(node); }

void report_unlisted(const Node* parameter) {
    std::string& text = open_tape().unlisted;
    if (text.empty()) text = describe(parameter->shape());
}

std::string take_unlisted() {
    return thread_state.tape ? std::exchange(thread_state.tape->unlisted, std::string()) : std::string();
}

void Node::drop_handle() noexcept {
    std::uint64_t before = counts_.load(std::memory_order_acquire);
    for (;;) {
        const bool last_handle = static_cast<std::uint32_t>(before) == 1;
        // With edges left, the last handle becomes an edge while the value is freed: nobody can free the node meanwhile.
        const std::uint64_t after = last_handle && before != handle ? before - handle + edge : before - handle;
        if (!counts_.compare_exchange_weak(before, after, std::memory_order_acq_rel)) continue;
        if (after == 0) {
            destroy(this);
        } else if (last_handle) {
            if (!keeps_value) drop_value();
            drop_edge();
        }
        return;
    }
}

std::uint32_t Node::drop_edge() noexcept {
    const std::uint64_t after = counts_.fetch_sub(edge, std::memory_order_acq_rel) - edge;
    if (after == 0) destroy(this);
    return static_cast<std::uint32_t>(after >> 32);
}

// Freeing a node frees its inputs in turn: they wait in a list rather than on the stack.
void Node::destroy(Node* node) noexcept {
    constinit thread_local Node* waiting = nullptr;
    constinit thread_local bool busy = false;
    if (node->tape) {
        if (node->tape != thread_state.tape) {
            node->tape->bury(node);
            return;
        }
        node->tape->unlink(node);
    }
    node->next = waiting;
    waiting = node;
    if (busy) return;
    busy = true;
    while (waiting) {
        Node* dead = waiting;
        waiting = dead->next;
        delete dead;
    }
    busy = false;
}

void Edge::release(Sweep* sweep) {
    Node* node = std::exchange(node_, nullptr);
    if (!node) return;
    if (sweep && node->in_flight == sweep && !node->on_tape()) {
        // The sweep holds the leaf by a handle: it outlives its last edge.
        if (node->drop_edge() == 0) node->complete(*sweep);
    } else {
        node->drop_edge();
    }
}

void Sweep::enter(Node* node) {
    if (!node->on_tape()) {
        node->add_handle();
        node->next = leaves_;
        leaves_ = node;
    } else {
        if (node->tape != thread_state.tape)
            throw Error(fmt::format("backward: the operation '{}' was recorded on another thread; run backward there",
                                    node->operation));
        node->add_edge();
        ++pending_;
        if (!start_ || node->place > start_->place) start_ = node;
    }
    node->in_flight = this;
}

void Sweep::run() {
    Node* node = start_;
    Edge pin;  // keeps `node` while the one above it, which may be all that holds it, goes away
    try {
        while (pending_ > 0) {
            if (node->in_flight != this) {
                node = node->previous;
                continue;
            }
            node->propagate(*this);
            if (!retain_graph) node->release(this);
            Edge next(node->previous);
            if (!retain_graph) {
                node->tape->unlink(node);
                node->released = true;
            }
            leave(node);
            node = next.get();
            pin = std::move(next);
        }
        finish_leaves();
    } catch (...) {
        discard_from(node);
        throw;
    }
}

void Sweep::leave(Node* node) noexcept {
    node->in_flight = nullptr;
    --pending_;
    node->drop_edge();
}

void Sweep::finish_leaves() {
    while (leaves_) {
        Node* leaf = leaves_;
        if (leaf->in_flight == this) leaf->complete(*this);
        leaves_ = std::exchange(leaf->next, nullptr);
        leaf->drop_handle();
    }
}

void Sweep::discard_from(Node* node) noexcept {
    Edge pin;
    while (pending_ > 0 && node) {
        Edge next(node->previous);
        if (node->in_flight == this) {
            node->discard_cotangent();
            leave(node);
        }
        node = next.get();
        pin = std::move(next);
    }
    while (leaves_) {
        Node* leaf = leaves_;
        leaf->discard_cotangent();
        leaf->in_flight = nullptr;
        leaves_ = std::exchange(leaf->next, nullptr);
        leaf->drop_handle();
    }
}

}  // namespace detail

std::size_t Tape::size() const noexcept { return detail::thread_state.tape ? detail::thread_state.tape->size() : 0; }

}  // namespace xgrad
