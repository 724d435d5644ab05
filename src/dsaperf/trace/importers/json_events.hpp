#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/core/gzip.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::trace {

// Cuts a JSON document into its values without holding it: a trace of 300 MB passes through a
// buffer of the size of its largest value. Only brackets, strings and commas are looked at; what is
// inside a value is for a parser to judge.
//
//   {"schemaVersion": 1, "traceEvents": [{...}, {...}], "deviceProperties": [...]}
//   [{...}, {...}
//
// The second form need not be closed, as the Chrome format has it.
class JsonSplitter {
 public:
  enum class Kind {
    kMember,   // a key of the outer object and its value
    kElement,  // one element of the outer array, or of the array under the key given to the factory
    kEnd,
  };

  // Reads the elements of the outer array, or of the array that is the value of `array_key`.
  static Result<JsonSplitter> over(ByteReader bytes, std::string array_key);

  // Steps on. key() and value() are valid until the next call. Fails with kParse, naming the
  // byte, where the text ends inside a value or is not JSON in its outline.
  Result<Kind> next();

  const std::string& key() const { return key_; }
  // Followed by at least kPadding readable bytes.
  std::string_view value() const;
  std::size_t value_capacity() const { return value_size_ + kPadding; }

  // After kEnd: the outer array was not closed.
  bool open_ended() const { return open_ended_; }

  static constexpr std::size_t kPadding = 64;  // what simdjson may read beyond a document

 private:
  explicit JsonSplitter(ByteReader bytes, std::string array_key);

  Result<bool> refill();  // false at the end of the input
  Result<int> peek();     // next byte that is not space; -1 at the end
  Result<void> scan_value();
  Result<void> skip_string(std::size_t& at);
  tl::unexpected<Error> cut(std::string_view inside) const;

  ByteReader bytes_;
  std::string array_key_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;     // first byte not consumed
  std::size_t end_ = 0;       // of what was read
  std::uint64_t offset_ = 0;  // of buffer_[0] in the input
  std::size_t value_begin_ = 0;
  std::size_t value_size_ = 0;
  std::string key_;
  bool open_ended_ = false;
  enum class Place { kStart, kObject, kArrayInObject, kArray, kDone } place_ = Place::kStart;
};

}  // namespace dsaperf::trace
