#pragma once

#include "dsaperf/core/error.hpp"

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace dsaperf {

// Bytes of a file or of memory, decompressed where they are gzip. What counts is the first two
// bytes (1f 8b), not the name: a plain file named .gz is read as it is. Several gzip members in a
// row are one stream, as gzip(1) has it. Read in pieces, so the size of the file does not matter.
class ByteReader {
 public:
  // Messages of errors name the path.
  static Result<ByteReader> open(const std::filesystem::path& path);
  // `bytes` must outlive the reader.
  static Result<ByteReader> over(std::string_view bytes);

  ByteReader(ByteReader&&) noexcept;
  ByteReader& operator=(ByteReader&&) noexcept;
  ~ByteReader();

  // Fills the front of `buffer` and says how much of it; 0 only at the end. Fails with kParse on
  // damaged or truncated gzip: what was read before stands, but is not the whole.
  Result<std::size_t> read(std::span<char> buffer);

  bool is_gzip() const;

  struct Source;

 private:
  explicit ByteReader(std::unique_ptr<Source> source);
  std::unique_ptr<Source> source_;
};

// The whole of a plain or gzip file, decompressed. Fails with kUnsupported beyond `limit` bytes, so
// that a small file cannot fill the memory.
Result<std::string> read_maybe_gzip(const std::filesystem::path& path,
                                    std::size_t limit = std::size_t{1} << 32);
Result<std::string> gunzip(std::string_view bytes, std::size_t limit = std::size_t{1} << 32);

// One gzip member without a name or a time in its header: equal bytes give an equal file.
std::string gzip(std::string_view bytes);

// As write_file does.
Result<void> write_gzip(const std::filesystem::path& path, std::string_view bytes);

}  // namespace dsaperf
