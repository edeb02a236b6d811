// What the main functions of the examples have in common.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
}

/// A program with options, which says what is wrong with them or with its work. CLI11 is behind it, in a file of its
/// own: in each program it would take most of the compiler's time.
class Program {
public:
    /// The whole numbers that an option accepts, both ends included.
    struct Range {
        std::int64_t least = 0, most = std::numeric_limits<std::int64_t>::max();
    };

    /// `purpose` stands at the head of what --help prints.
    explicit Program(const std::string& purpose);
    ~Program();

    /// An option: the command line may write into `value`, which holds the default now. It is an int, an integer of 64
    /// bits, signed or not, a double or a std::string.
    template <class T> void option(const std::string& name, T& value, const std::string& help);
    template <std::integral T> void option(const std::string& name, T& value, const std::string& help, Range accepted);
    /// One of a few words.
    void choice(const std::string& name, std::string& value, const std::string& help,
                const std::vector<std::string>& accepted);
    /// A folder that exists.
    void folder(const std::string& name, std::string& value, const std::string& help);

    /// Reads the options, then does the work; returns the exit status. What is wrong with the options, or turns out to
    /// be wrong later, is said on stderr, and the status is 1.
    int run(int argc, char** argv, const std::function<void()>& work);

private:
    std::unique_ptr<CLI::App> app_;
};
