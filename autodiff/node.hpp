// What stands behind a Variable: a node with its counts, and the place that it has on its thread's tape.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include <xgrad/autodiff/array.hpp>
#include <xgrad/autodiff/count.hpp>
#include <xgrad/autodiff/memory.hpp>

namespace xgrad {

class Observer;

namespace detail {

class Node;
class Sweep;
class TapeState;
struct Wanted;

/// What the engine keeps for each thread. Constant-initialised and trivial, so that it may be used at any time.
struct ThreadState {
    TapeState* tape = nullptr;
    bool recording = true;          // false under NoGrad, and while an ordinary backward runs
    const char* vjp = nullptr;      // the operation whose vjp is running: what it saved is checked when it is read
    std::uint64_t recorded_at = 0;  // when that operation was recorded, by the change clock
    Observer* observer = nullptr;   // sees every record
};
inline constinit thread_local ThreadState thread_state;

/// The part of a node that does not depend on the precision.
///
/// Two counts decide over its life. Handles are Variables: as long as there is one, the value is kept. Edges come from
/// operations recorded on top: they keep the node as a part of the graph, but not its value, which a vjp that needs it
/// holds by a handle of its own.
class Node {
public:
    Node() = default;
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;
    virtual ~Node() = default;

    static void* operator new(std::size_t bytes) { return memory::allocate(bytes); }
    static void operator delete(void* node, std::size_t bytes) noexcept { memory::deallocate(node, bytes); }

    void add_handle() noexcept { increase(counts_, handle); }
    void add_edge() noexcept { increase(counts_, edge); }
    void drop_handle() noexcept {
        if (single_threaded() && handles() > 1)
            decrease(counts_, handle);
        else
            drop_perhaps_last_handle();
    }
    /// Returns the number of edges that are left; the node may be gone when there are none.
    std::uint32_t drop_edge() noexcept;
    std::uint32_t handles() const noexcept {
        return static_cast<std::uint32_t>(counts_.load(std::memory_order_acquire));
    }
    std::uint32_t edges() const noexcept { return edges_of(counts_.load(std::memory_order_acquire)); }

    /// The operation's own vjp reads its result: the value stays when the last handle goes, until stop_keeping_value.
    /// Call only before the node is shared.
    void keep_value() noexcept { counts_.store(kept, std::memory_order_relaxed); }
    void stop_keeping_value() noexcept {
        if (!keeps_value()) return;
        const std::uint64_t before = counts_.fetch_and(~kept, std::memory_order_acq_rel);
        if ((before & kept) && static_cast<std::uint32_t>(before) == 0) drop_value();
    }
    bool keeps_value() const noexcept { return counts_.load(std::memory_order_relaxed) & kept; }
    bool has_value() const noexcept { return keeps_value() || handles() > 0; }

    bool on_tape() const noexcept { return tape != nullptr; }

    virtual const Shape& shape() const noexcept = 0;
    /// Frees the value but keeps its shape: no handle is left, only edges.
    virtual void drop_value() noexcept = 0;
    /// Hands the cotangent on to the inputs.
    virtual void propagate(Sweep&) {}
    /// Frees what was saved for backward, and the edges to the inputs.
    virtual void release(Sweep*) {}
    /// Calls visit(context, input) for each input that has an edge.
    using Visit = void (*)(void* context, Node* input);
    virtual void visit_inputs(Visit, void* /*context*/) const {}
    virtual void discard_cotangent() noexcept = 0;
    /// Puts the cotangent aside while a sweep inside another one passes the same node, and brings it back.
    virtual std::shared_ptr<void> suspend_cotangent() = 0;
    virtual void resume_cotangent(std::shared_ptr<void> cotangent) noexcept = 0;
    /// Adds the cotangent that a leaf collected to its gradient, and tells its hooks.
    virtual void complete(Sweep&) = 0;
    /// Hands the cotangent to the grad() that asks for it and needs nothing of what is below.
    virtual void answer(Sweep&) {}

    // Links of the tape; a dead node uses `next` for the list of those that wait to be freed.
    TapeState* tape = nullptr;
    Node* previous = nullptr;
    Node* next = nullptr;
    std::uint64_t place = 0;

    Sweep* in_flight = nullptr;   // the sweep that has yet to hand this node's cotangent on
    Wanted* wanted = nullptr;     // the grad() that asks for its cotangent; the innermost one
    std::uint64_t skipped_by = 0;  // the last grad() that needs nothing of what is below this operation

    const char* operation = nullptr;  // null for a leaf
    bool requires_grad = false;
    bool released = false;      // was on a tape; a backward has freed what it had saved
    bool is_parameter = false;
    std::atomic<bool> is_listed{false};  // some module, or an optimizer, knows this parameter

private:
    static constexpr std::uint64_t handle = 1;
    static constexpr std::uint64_t edge = std::uint64_t{1} << 32;
    static constexpr std::uint64_t kept = std::uint64_t{1} << 63;
    static std::uint32_t edges_of(std::uint64_t counts) noexcept {
        return static_cast<std::uint32_t>((counts & ~kept) >> 32);
    }

    void drop_perhaps_last_handle() noexcept;
    static void destroy(Node* node) noexcept;

    // In one word, so that whoever drops the last handle and whoever ends the keeping agree on who frees the value.
    std::atomic<std::uint64_t> counts_{0};

    friend class TapeState;
};

/// An edge from an operation to one of its inputs.
class Edge {
public:
    Edge() = default;
    explicit Edge(Node* node) noexcept : node_(node) {
        if (node_) node_->add_edge();
    }
    Edge(Edge&& other) noexcept : node_(other.node_) { other.node_ = nullptr; }
    Edge& operator=(Edge&& other) noexcept {
        Node* mine = node_;
        node_ = other.node_;
        other.node_ = mine;
        return *this;
    }
    ~Edge() { release(nullptr); }

    Node* get() const noexcept { return node_; }
    explicit operator bool() const noexcept { return node_ != nullptr; }

    /// Lets go of the input; in a sweep, a leaf that has heard from its last consumer is completed.
    void release(Sweep* sweep);

private:
    Node* node_ = nullptr;
};

}  // namespace detail
}  // namespace xgrad
