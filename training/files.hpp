// What readers and writers of files share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <xgrad/autodiff/array.hpp>

namespace xgrad::training::detail {

/// Throws Error: the path, and what is wrong with the file.
[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& what);

/// A name from a file, which may hold anything, for a message.
std::string shown(std::string_view name);

/// The size of a file in bytes. Throws Error when there is none, or it is no regular file.
std::uintmax_t file_size(const std::filesystem::path& path);

/// The number of elements of a shape that a file claims; nothing when it, or a stride of such an array, cannot be
/// counted.
std::optional<std::size_t> claimed_count(const Shape& shape);

/// A file that takes the place of an old one, or of the one that a link leads to, when it is complete, and is gone when
/// it never is. All of it throws Error when the file cannot be written.
class Replacement {
public:
    explicit Replacement(const std::filesystem::path& path);
    Replacement(const Replacement&) = delete;
    Replacement& operator=(const Replacement&) = delete;
    ~Replacement();

    int descriptor() const { return descriptor_; }
    void write(std::span<const std::byte> bytes);
    void commit();

private:
    [[noreturn]] void refuse() const;

    std::filesystem::path path_;
    std::string temporary_;
    int descriptor_ = -1;
};

}  // namespace xgrad::training::detail
