#include <iterator>
#include <mutex>
#include <string>
#include <utility>

#include <fmt/format.h>

#include <xgrad/autodiff/record.hpp>
#include <xgrad/autodiff/tape.hpp>

namespace xgrad {
namespace detail {

void refuse_recorded_value(const char* operation, const char* recorded) {
    throw Error(
        fmt::format("record: a value of '{}' was itself recorded, by '{}'; compute it of x.detach(), which records "
                    "nothing",
                    operation, recorded));
}

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
    // Nodes that nothing reaches. They are still links of the tape: a dead node's place serves as the link of this
    // list.
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

void Node::drop_perhaps_last_handle() noexcept {
    std::uint64_t before = counts_.load(std::memory_order_acquire);
    for (;;) {
        const bool last = (before & ~kept) == handle;
        const bool frees_value = !last && static_cast<std::uint32_t>(before) == 1 && !(before & kept);
        // With edges left, the last handle becomes an edge while the value is freed: nobody can free the node
        // meanwhile.
        const std::uint64_t after = frees_value ? before - handle + edge : before - handle;
        if (single_threaded())
            counts_.store(after, std::memory_order_relaxed);
        else if (!counts_.compare_exchange_weak(before, after, std::memory_order_acq_rel))
            continue;
        if (last) {
            destroy(this);
        } else if (frees_value) {
            drop_value();
            drop_edge();
        }
        return;
    }
}

std::uint32_t Node::drop_edge() noexcept {
    const std::uint64_t after = decrease(counts_, edge);
    if ((after & ~kept) == 0) destroy(this);
    return edges_of(after);
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

namespace {

// Numbers the grad() calls of a thread: only nodes of its own tape are marked with them.
constinit thread_local std::uint64_t last_sweep = 0;

template <class F> void for_each_input(const Node& node, F visit) {
    node.visit_inputs([](void* context, Node* input) { (*static_cast<F*>(context))(input); }, &visit);
}

}  // namespace

Sweep::Sweep(bool create, bool retain, bool accumulate_gradients)
    : create_graph(create),
      retain_graph(retain || create),
      accumulate(accumulate_gradients),
      scope_(nullptr, 0, create) {}

Sweep::~Sweep() {
    while (pending_ > 0) {
        Node* node = next_pending();
        node->discard_cotangent();
        place_ = node->previous;
        leave(node);
    }
    for (Node* leaf : leaves_) {
        if (!leaf) continue;
        if (leaf->in_flight == this) {
            leaf->discard_cotangent();
            leave_leaf(leaf);
        }
        leaf->drop_handle();
    }
    while (!suspended_.empty()) resume(suspended_.back().node);
}

void Sweep::look_for_wanted(std::span<Node* const> outputs) {
    id_ = ++last_sweep;
    std::size_t unseen = 0;
    const auto mark = [&](Node* node) {
        if (node->tape != thread_state.tape || !node->on_tape() || node->skipped_by == id_) return;
        node->skipped_by = id_;
        ++unseen;
    };
    Node* place = nullptr;
    for (Node* output : outputs) {
        mark(output);
        if (output->skipped_by == id_ && (!place || output->place > place->place)) place = output;
    }
    std::vector<Node*, memory::Allocator<Node*>> reached;  // from the outputs, in the order of the sweep
    for (; unseen > 0; place = place->previous) {
        if (place->skipped_by != id_) continue;
        --unseen;
        reached.push_back(place);
        for_each_input(*place, mark);
    }
    for (std::size_t i = reached.size(); i-- > 0;) {
        bool leads_on = false;
        for_each_input(*reached[i], [&](Node* input) { leads_on = leads_on || expects(*input); });
        if (leads_on) reached[i]->skipped_by = 0;
    }
}

void Sweep::enter(Node* node) {
    if (node->on_tape() && node->tape != thread_state.tape)
        throw Error(fmt::format("backward: the operation '{}' was recorded on another thread; run backward there",
                                node->operation));
    if (node->in_flight) {
        if (node->on_tape() && !retain_graph)
            throw Error(
                fmt::format("backward: the operation '{}' belongs to a backward that is still running around this "
                            "one; detach() its result, or pass {{.retain_graph = true}}",
                            node->operation));
        suspended_.push_back({node, node->in_flight, node->suspend_cotangent()});
        node->in_flight = nullptr;
    }
    if (!node->on_tape()) {
        leaves_.push_back(node);
        node->add_handle();
    } else {
        node->add_edge();
        ++pending_;
        if (!place_ || node->place > place_->place) place_ = node;
    }
    node->in_flight = this;
}

// While the walk goes on, nothing is freed; then the node found keeps itself alive.
Node* Sweep::next_pending() noexcept {
    while (place_->in_flight != this) place_ = place_->previous;
    passed_ = Edge(place_);
    return place_;
}

void Sweep::run() {
    while (pending_ > 0) {
        Node* node = next_pending();
        if (id_ != 0 && node->skipped_by == id_) {
            node->answer(*this);
            place_ = node->previous;
        } else {
            node->propagate(*this);
            if (!retain_graph) {
                node->released = true;  // before a hook may throw half-way
                node->release(this);
            }
            place_ = node->previous;
            if (!retain_graph) node->tape->unlink(node);
        }
        leave(node);
    }
    passed_.release(nullptr);
    for (Node*& leaf : leaves_) {
        if (leaf->in_flight == this) leaf->complete(*this);
        std::exchange(leaf, nullptr)->drop_handle();
    }
}

void Sweep::leave(Node* node) noexcept {
    node->in_flight = nullptr;
    resume(node);
    --pending_;
    node->drop_edge();
}

void Sweep::leave_leaf(Node* leaf) noexcept {
    leaf->in_flight = nullptr;
    resume(leaf);
}

void Sweep::resume(Node* node) noexcept {
    for (auto entry = suspended_.rbegin(); entry != suspended_.rend(); ++entry) {
        if (entry->node != node) continue;
        node->in_flight = entry->outer;
        node->resume_cotangent(std::move(entry->cotangent));
        suspended_.erase(std::next(entry).base());
        return;
    }
}

}  // namespace detail

std::size_t Tape::size() const noexcept { return detail::thread_state.tape ? detail::thread_state.tape->size() : 0; }

}  // namespace xgrad
