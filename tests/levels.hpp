// Instruction-set levels in tests.
#pragma once

#include <initializer_list>
#include <vector>

#include <xgrad/autodiff/kernels/level.hpp>

namespace xgrad::testing {

/// Those of some levels that this processor can run: `for (const Level level : Levels())` goes over them, and while it
/// does, the level that it is at is in use. Afterwards that from before is again.
class Levels {
public:
    Levels(std::initializer_list<Level> wanted = {Level::portable, Level::avx2, Level::avx512}) {
        for (const Level level : wanted)
            if (available(level)) levels_.push_back(level);
    }
    Levels(const Levels&) = delete;
    Levels& operator=(const Levels&) = delete;
    ~Levels() { set_level(before_); }

    class Iterator {
    public:
        explicit Iterator(const Level* place) : place_(place) {}
        Level operator*() const {
            set_level(*place_);
            return *place_;
        }
        Iterator& operator++() {
            ++place_;
            return *this;
        }
        bool operator==(const Iterator&) const = default;

    private:
        const Level* place_;
    };
    Iterator begin() const { return Iterator(levels_.data()); }
    Iterator end() const { return Iterator(levels_.data() + levels_.size()); }

private:
    Level before_ = level();
    std::vector<Level> levels_;
};

}  // namespace xgrad::testing
