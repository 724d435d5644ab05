#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/op/tensor.hpp"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::op {

// safetensors: 8 bytes little-endian length, a JSON object of that length
// {"name": {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [begin, end]}, ...}, then
// the data that the offsets count from. Chosen because checkpoints and numpy, torch and jax read
// it.

// A tensor on the host, packed.
struct NamedTensor {
  std::string name = {};
  DType type = DType::kBf16;
  std::vector<std::int64_t> shape = {};
  std::vector<std::uint8_t> bytes = {};
};

Result<void> write_safetensors(const std::filesystem::path& path,
                               std::span<const NamedTensor> tensors);

// A file opened for reading single tensors. The header is checked when it is opened: sizes, offsets
// and shapes agree with each other and with the file's length. Tensors of element types without a
// DType here (F16, BOOL, ...) are known by name and refused when read.
class SafetensorsFile {
 public:
  static Result<SafetensorsFile> open(const std::filesystem::path& path);

  bool has(std::string_view name) const { return entries_.contains(name); }
  std::vector<std::string> names() const;
  // Fails with kNotFound for a name that is not there.
  Result<NamedTensor> read(std::string_view name);

 private:
  struct Entry {
    std::string dtype;
    std::vector<std::int64_t> shape;
    std::int64_t begin = 0;  // in the file
    std::int64_t end = 0;
  };
  friend Result<std::map<std::string, Entry, std::less<>>> parse_entries(std::string_view,
                                                                         std::int64_t,
                                                                         std::int64_t);

  std::string path_;
  std::ifstream file_;
  std::map<std::string, Entry, std::less<>> entries_;
};

// The header alone, for a file whose data is `data_bytes` long: what open() refuses. Reads foreign
// bytes; never throws.
Result<void> check_safetensors_header(std::string_view json, std::int64_t data_bytes);

}  // namespace dsaperf::op
