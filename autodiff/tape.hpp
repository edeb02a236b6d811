// The thread's list of recorded operations, what switches recording off, and what watches it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <xgrad/autodiff/node.hpp>

namespace xgrad {

/// The recorded operations of one thread in the order of their execution, which is a topological order: backward is one
/// sweep from the output's place down. An operation leaves the tape when a backward has used it or when nothing can
/// reach it any more.
class Tape {
public:
    /// The calling thread's tape.
    static Tape current() noexcept { return Tape(); }

    /// How many operations are recorded: 0 after each training step, unless something holds a graph.
    std::size_t size() const noexcept;

    /// Whether operations on variables that require a gradient are being recorded.
    bool recording() const noexcept { return detail::thread_state.recording; }

private:
    Tape() = default;
};

/// While it lives, nothing is recorded in this thread: results require no gradient and keep nothing alive. An operation
/// that returns x itself, such as dropout(x, 0), returns it as it is.
class NoGrad {
public:
    NoGrad() noexcept : before_(detail::thread_state.recording) { detail::thread_state.recording = false; }
    ~NoGrad() { detail::thread_state.recording = before_; }
    NoGrad(const NoGrad&) = delete;
    NoGrad& operator=(const NoGrad&) = delete;

private:
    bool before_;
};

/// While it lives, operations are recorded, also inside NoGrad or inside a vjp: what a checkpoint needs to run its
/// function again in the middle of a backward.
class EnableGrad {
public:
    EnableGrad() noexcept : recording_(detail::thread_state.recording), vjp_(detail::thread_state.vjp) {
        detail::thread_state.recording = true;
        detail::thread_state.vjp = nullptr;  // what is read here is the caller's, not something a vjp has saved
    }
    ~EnableGrad() {
        detail::thread_state.recording = recording_;
        detail::thread_state.vjp = vjp_;
    }
    EnableGrad(const EnableGrad&) = delete;
    EnableGrad& operator=(const EnableGrad&) = delete;

private:
    bool recording_;
    const char* vjp_;
};

namespace detail {

/// Takes a watcher out of the list from the innermost one outwards. It need not be the first: an outer one may go before
/// those within.
template <class Watcher> void unlink(Watcher*& innermost, Watcher& watcher, Watcher* Watcher::*outer) noexcept {
    Watcher** link = &innermost;
    while (*link && *link != &watcher) link = &((*link)->*outer);
    if (*link) *link = watcher.*outer;
}

}  // namespace detail

/// A setting that an operation reports, or an input that is no Variable (labels, conditions, statistics). Not all are
/// reported: a number in a formula is not, nor the place of a slice.
struct Attribute {
    using Value = std::variant<bool, std::int64_t, double, std::string_view, std::vector<std::int64_t>,
                               const Array<std::int64_t>*, const Array<bool>*, const Array<float>*,
                               const Array<double>*>;
    std::string_view name;
    Value value;
};

/// One operation at the moment when it is recorded.
struct Recorded {
    std::string_view operation;
    std::span<const detail::Node* const> inputs;  ///< all Variables it read, differentiable or not; identities
    std::span<const detail::Node* const> outputs;  ///< one, but for record_many
    std::span<const Attribute> attributes;
};

/// Sees every operation of the thread on which it lives, also under NoGrad: pictures of graphs, summaries. Observers
/// nest; the innermost one is told first. Each must end on the thread on which it was made.
class Observer {
public:
    Observer() noexcept : outer_(detail::thread_state.observer) { detail::thread_state.observer = this; }
    virtual ~Observer() { detail::unlink(detail::thread_state.observer, *this, &Observer::outer_); }
    Observer(const Observer&) = delete;
    Observer& operator=(const Observer&) = delete;

    /// Called after each operation; what it is given is good for the length of the call.
    virtual void on_record(const Recorded& recorded) = 0;

    /// Tells all observers of this thread.
    static void tell(const Recorded& recorded) {
        for (Observer* observer = detail::thread_state.observer; observer; observer = observer->outer_)
            observer->on_record(recorded);
    }

private:
    Observer* outer_;
};

namespace detail {

/// Puts a node on the calling thread's tape.
void append_to_tape(Node* node);

/// Notes that a parameter received a gradient which no module and no optimizer knows.
void report_unlisted(const Node* parameter);
/// The shape of the first such parameter of this thread since the last call, as text; empty when there was none.
std::string take_unlisted();

/// While an operation's vjp runs: whether it is recorded, and by which name and time what it saved is checked. Without
/// an operation: while the engine runs, which checks nothing.
class VjpScope {
public:
    VjpScope(const char* operation, std::uint64_t recorded_at, bool recording) noexcept
        : operation_(thread_state.vjp), recorded_at_(thread_state.recorded_at), recording_(thread_state.recording) {
        thread_state.vjp = operation;
        thread_state.recorded_at = recorded_at;
        thread_state.recording = recording;
    }
    ~VjpScope() {
        thread_state.vjp = operation_;
        thread_state.recorded_at = recorded_at_;
        thread_state.recording = recording_;
    }
    VjpScope(const VjpScope&) = delete;
    VjpScope& operator=(const VjpScope&) = delete;

private:
    const char* operation_;
    std::uint64_t recorded_at_;
    bool recording_;
};

/// An input that a grad() asks for. It hangs on the input's node, on top of that of a grad() around this one.
struct Wanted {
    const Sweep* sweep = nullptr;
    Wanted* outer = nullptr;
};

/// One backward pass: walks the tape from the last root down. Shapes and precisions do not matter to it. Passes nest: a
/// vjp or a hook may start another one, over other nodes or the same.
class Sweep {
public:
    /// To be run in this scope: nothing is recorded meanwhile, unless `create` says so. `accumulate` into the leaves'
    /// gradients, or else give cotangents to those who want them.
    Sweep(bool create, bool retain, bool accumulate_gradients);
    /// Discards the cotangents that are left when something has thrown.
    ~Sweep();
    Sweep(const Sweep&) = delete;
    Sweep& operator=(const Sweep&) = delete;

    const bool create_graph;
    const bool retain_graph;
    const bool accumulate;

    /// For grad(): finds out which operations lead from these outputs to what is wanted. Nothing else is run or freed.
    void look_for_wanted(std::span<Node* const> outputs);

    /// Whether a cotangent of this node is of any use.
    bool expects(const Node& node) const noexcept {
        if (accumulate || node.released || is_wanted(node)) return true;
        return node.on_tape() && node.skipped_by != id_;
    }
    bool is_wanted(const Node& node) const noexcept { return node.wanted && node.wanted->sweep == this; }

    /// Runs all vjps that the cotangents of the roots, already received, reach.
    void run();

    /// A node has received its first cotangent. Throws Error when it is on another thread's tape.
    void enter(Node* node);
    /// A leaf's cotangent has been taken.
    void leave_leaf(Node* leaf) noexcept;

private:
    // A node with what it had received in a sweep around this one.
    struct Suspended {
        Node* node;
        Sweep* outer;
        std::shared_ptr<void> cotangent;
    };

    Node* next_pending() noexcept;
    void leave(Node* node) noexcept;
    void resume(Node* node) noexcept;

    const VjpScope scope_;
    std::uint64_t id_ = 0;   // of a grad(), for marks
    std::size_t pending_ = 0;
    Node* place_ = nullptr;  // where the walk has come to: no pending node is above it
    Edge passed_;            // the node passed last, on which what is at `place_` may hang
    std::vector<Node*, memory::Allocator<Node*>> leaves_;  // that have received something
    std::vector<Suspended> suspended_;
};

}  // namespace detail
}  // namespace xgrad
