// Instruction-set levels in tests.
#pragma once

#include <initializer_list>
#include <string_view>
#include <vector>

#include <xgrad/autodiff/kernels/level.hpp>

namespace xgrad::testing {

/// While it lives, the kernels of a level are used.
class LevelScope {
public:
    explicit LevelScope(Level level) : level_(level) { set_level(level); }
    ~LevelScope() { set_level(before_); }
    LevelScope(const LevelScope&) = delete;
    LevelScope& operator=(const LevelScope&) = delete;

    std::string_view name() const { return xgrad::name(level_); }

private:
    Level level_, before_ = xgrad::level();
};

/// Those of some levels that this processor can run, each in use in its turn: `for (const LevelScope at : Levels())`.
class Levels {
public:
    Levels(std::initializer_list<Level> wanted = {Level::portable, Level::avx2, Level::avx512}) {
        for (const Level level : wanted)
            if (available(level)) levels_.push_back(level);
    }

    class Iterator {
    public:
        explicit Iterator(const Level* place) : place_(place) {}
        LevelScope operator*() const { return LevelScope(*place_); }
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
    std::vector<Level> levels_;
};

}  // namespace xgrad::testing
