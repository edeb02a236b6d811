// What the main functions of the examples have in common.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

/// What an option that counts something has to be. CLI::PositiveNumber says "in range 0.000000 to" 1.8·10³⁰⁸, digit by digit.
inline const CLI::Validator at_least_one(
    [](const std::string& text) {
        std::size_t count = 0;
        const char* const end = text.data() + text.size();
        const auto [rest, error] = std::from_chars(text.data(), end, count);
        return error == std::errc() && rest == end && count > 0
                   ? std::string()
                   : fmt::format("{} was given; expected a whole number, 1 or more", text);
    },
    "POSITIVE");

/// Parses the options, then does the work. What is wrong with the options, or turns out to be wrong later, is said on
/// stderr, and the exit status is 1.
template <class Work>
int run(CLI::App& app, int argc, char** argv, Work work) {
    try {
        app.parse(argc, argv);
        work();
        return 0;
    } catch (const CLI::ParseError& stop) {  // --help comes here too, with the status 0
        return app.exit(stop) == 0 ? 0 : 1;
    } catch (const std::exception& error) {
        std::fflush(stdout);
        fmt::print(stderr, "error: {}\n", error.what());
        return 1;
    }
}
