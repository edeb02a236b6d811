// What the main functions of the examples have in common.
#pragma once

#include <cstdio>
#include <exception>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

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
