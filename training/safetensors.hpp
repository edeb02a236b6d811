// Named arrays in safetensors files, the format in which models are exchanged: a header of JSON, then the numbers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <variant>

#include <xgrad/autodiff/array.hpp>

namespace xgrad::training {

/// An array of one of the kinds that are read and written (in the format's words F32, F64, I64, I32, U64, U8, BOOL).
using AnyArray = std::variant<Array<float>, Array<double>, Array<std::int64_t>, Array<std::int32_t>,
                              Array<std::uint64_t>, Array<std::uint8_t>, Array<bool>>;

/// Arrays by their names.
using NamedArrays = std::map<std::string, AnyArray>;

/// The arrays of a file, or those of them whose names are wanted. Numbers of half precision (F16, BF16) become floats,
/// which is exact. Files are not trusted: throws Error, with the path, for one that is missing, truncated, too long,
/// whose header is not right, or that has other kinds of numbers where they are wanted; the memory that is
/// asked for is in proportion to the file.
NamedArrays read_safetensors(const std::filesystem::path& path,
                             const std::function<bool(const std::string& name)>& wanted = nullptr);

/// Writes arrays to a file, which takes the place of an old one once all is written. Throws Error when that fails; the
/// old file is as it was then.
void write_safetensors(const std::filesystem::path& path, const NamedArrays& arrays);

}  // namespace xgrad::training
