#include "program.hpp"

#include <charconv>
#include <cstdio>
#include <exception>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace {

CLI::Validator within(const Program::Range& accepted) {
    const bool open = accepted.most == Program::Range().most;
    const std::string range =
        open ? fmt::format("{} or more", accepted.least) : fmt::format("{} to {}", accepted.least, accepted.most);
    const auto fault = [accepted, range](const std::string& text) {
        std::int64_t number = 0;
        const char* const end = text.data() + text.size();
        const auto [rest, error] = std::from_chars(text.data(), end, number);
        return error == std::errc() && rest == end && number >= accepted.least && number <= accepted.most
                   ? std::string()
                   : fmt::format("{} was given; expected a whole number, {}", text, range);
    };
    return CLI::Validator(fault, range);
}

}  // namespace

Program::Program(const std::string& purpose) : app_(std::make_unique<CLI::App>(purpose)) {
    app_->option_defaults()->always_capture_default();
}

Program::~Program() = default;

template <class T> void Program::option(const std::string& name, T& value, const std::string& help) {
    app_->add_option(name, value, help);
}
template <std::integral T>
void Program::option(const std::string& name, T& value, const std::string& help, Range accepted) {
    app_->add_option(name, value, help)->check(within(accepted));
}

template void Program::option(const std::string&, int&, const std::string&);
template void Program::option(const std::string&, int&, const std::string&, Range);
template void Program::option(const std::string&, long&, const std::string&);
template void Program::option(const std::string&, long&, const std::string&, Range);
template void Program::option(const std::string&, long long&, const std::string&);
template void Program::option(const std::string&, long long&, const std::string&, Range);
template void Program::option(const std::string&, unsigned long&, const std::string&);
template void Program::option(const std::string&, unsigned long&, const std::string&, Range);
template void Program::option(const std::string&, unsigned long long&, const std::string&);
template void Program::option(const std::string&, unsigned long long&, const std::string&, Range);
template void Program::option(const std::string&, double&, const std::string&);
template void Program::option(const std::string&, std::string&, const std::string&);

void Program::choice(const std::string& name, std::string& value, const std::string& help,
                     const std::vector<std::string>& accepted) {
    app_->add_option(name, value, help)->check(CLI::IsMember(accepted));
}

void Program::folder(const std::string& name, std::string& value, const std::string& help) {
    app_->add_option(name, value, help)->check(CLI::ExistingDirectory);
}

int Program::run(int argc, char** argv, const std::function<void()>& work) {
    try {
        app_->parse(argc, argv);
        work();
        return 0;
    } catch (const CLI::ParseError& stop) {  // --help comes here too, with the status 0
        return app_->exit(stop) == 0 ? 0 : 1;
    } catch (const std::exception& error) {
        std::fflush(stdout);
        fmt::print(stderr, "error: {}\n", error.what());
        return 1;
    }
}
