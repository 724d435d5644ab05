#include "dsaperf/trace/importers/json_events.hpp"

#include "dsaperf/core/fail.hpp"

#include <array>
#include <cstring>
#include <utility>

namespace dsaperf::trace {
namespace {

constexpr std::size_t kChunk = std::size_t{1} << 20;
constexpr std::size_t kLargestValue = std::size_t{1} << 28;

enum Class : unsigned char { kPlain, kQuote, kOpen, kClose };

constexpr std::array<Class, 256> kClasses = [] {
  std::array<Class, 256> classes{};
  classes['"'] = kQuote;
  classes['{'] = classes['['] = kOpen;
  classes['}'] = classes[']'] = kClose;
  return classes;
}();

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

}  // namespace

JsonSplitter::JsonSplitter(ByteReader bytes, std::string array_key)
    : bytes_(std::move(bytes)), array_key_(std::move(array_key)), buffer_(2 * kChunk) {
}

Result<JsonSplitter> JsonSplitter::over(ByteReader bytes, std::string array_key) {
  return JsonSplitter(std::move(bytes), std::move(array_key));
}

std::string_view JsonSplitter::value() const {
  return {buffer_.data() + value_begin_, value_size_};
}

tl::unexpected<Error> JsonSplitter::cut(std::string_view inside) const {
  return fail(Errc::kParse, "the JSON text ends inside {} that begins at byte {}; the file is cut",
              inside, offset_ + begin_);
}

// Moves what is not consumed to the front, so positions at or after begin_ change by begin_.
Result<bool> JsonSplitter::refill() {
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    offset_ += begin_;
    end_ -= begin_;
    begin_ = 0;
  }
  if (buffer_.size() < end_ + kChunk + kPadding) {
    if (end_ > kLargestValue) {
      return fail(Errc::kUnsupported, "a value at byte {} is larger than {} MB", offset_,
                  kLargestValue >> 20);
    }
    buffer_.resize(2 * buffer_.size() + kPadding);
  }
  DSAPERF_TRY_ASSIGN(
      const std::size_t got,
      bytes_.read(std::span(buffer_.data() + end_, buffer_.size() - end_ - kPadding)));
  end_ += got;
  return got > 0;
}

Result<int> JsonSplitter::peek() {
  while (true) {
    while (begin_ < end_ && is_space(buffer_[begin_])) ++begin_;
    if (begin_ < end_) return static_cast<unsigned char>(buffer_[begin_]);
    DSAPERF_TRY_ASSIGN(const bool more, refill());
    if (!more) return -1;
  }
}

// `at` is on the opening quote, relative to begin_; leaves it after the closing one.
Result<void> JsonSplitter::skip_string(std::size_t& at) {
  ++at;
  while (true) {
    const char* from = buffer_.data() + begin_ + at;
    const std::size_t left = end_ - begin_ - at;
    const auto* quote = static_cast<const char*>(std::memchr(from, '"', left));
    if (quote == nullptr) {
      at += left;
      DSAPERF_TRY_ASSIGN(const bool more, refill());
      if (!more) return cut("a string");
      // An escape may straddle the two pieces; the count below looks back over the seam.
      continue;
    }
    at += static_cast<std::size_t>(quote - from) + 1;
    std::size_t backslashes = 0;
    while (*(quote - 1 - backslashes) == '\\') ++backslashes;
    if (backslashes % 2 == 0) return {};
  }
}

Result<void> JsonSplitter::scan_value() {
  value_begin_ = begin_;
  std::size_t at = 0;
  int depth = 0;
  while (true) {
    if (begin_ + at == end_) {
      DSAPERF_TRY_ASSIGN(const bool more, refill());
      value_begin_ = begin_;
      if (!more) {
        if (depth == 0 && at > 0) break;  // a bare scalar may end the text
        return cut("a value");
      }
    }
    const char c = buffer_[begin_ + at];
    const Class kind = kClasses[static_cast<unsigned char>(c)];
    if (kind == kPlain) {
      if (depth == 0 && (c == ',' || is_space(c))) break;
      ++at;
    } else if (kind == kQuote) {
      DSAPERF_TRY(skip_string(at));
      if (depth == 0) break;
    } else if (kind == kOpen) {
      ++depth;
      ++at;
    } else {
      if (depth == 0) break;  // of the outer value
      ++at;
      if (--depth == 0) break;
    }
  }
  value_begin_ = begin_;
  value_size_ = at;
  if (at == 0) {
    return fail(Errc::kParse, "a value is missing at byte {}", offset_ + begin_);
  }
  begin_ += at;
  return {};
}

Result<JsonSplitter::Kind> JsonSplitter::next() {
  if (place_ == Place::kDone) return Kind::kEnd;
  if (place_ == Place::kStart) {
    DSAPERF_TRY_ASSIGN(int first, peek());
    if (first == 0xEF && end_ - begin_ >= 3) {  // byte-order mark
      begin_ += 3;
      DSAPERF_TRY_ASSIGN(first, peek());
    }
    if (first != '{' && first != '[') {
      return fail(Errc::kParse, "neither a JSON object nor a JSON array");
    }
    ++begin_;
    place_ = first == '{' ? Place::kObject : Place::kArray;
  }
  while (true) {
    DSAPERF_TRY_ASSIGN(const int c, peek());
    const bool in_array = place_ != Place::kObject;
    value_begin_ = begin_;
    if (c < 0) {
      if (place_ != Place::kArray) return cut(in_array ? "an array" : "an object");
      open_ended_ = true;
      place_ = Place::kDone;
      return Kind::kEnd;
    }
    if (c == ',') {
      ++begin_;
      continue;
    }
    if (in_array) {
      if (c == ']') {
        ++begin_;
        if (place_ == Place::kArray) {
          place_ = Place::kDone;
          return Kind::kEnd;
        }
        place_ = Place::kObject;
        continue;
      }
      DSAPERF_TRY(scan_value());
      return Kind::kElement;
    }
    if (c == '}') {
      ++begin_;
      place_ = Place::kDone;
      return Kind::kEnd;
    }
    if (c != '"') return fail(Errc::kParse, "a key is expected at byte {}", offset_ + begin_);
    DSAPERF_TRY(scan_value());
    key_.assign(value().substr(1, value_size_ - 2));
    DSAPERF_TRY_ASSIGN(const int colon, peek());
    if (colon != ':') return fail(Errc::kParse, "':' is expected at byte {}", offset_ + begin_);
    ++begin_;
    DSAPERF_TRY_ASSIGN(const int first, peek());
    if (first < 0) return cut("an object");
    if (first == '[' && key_ == array_key_) {
      ++begin_;
      place_ = Place::kArrayInObject;
      continue;
    }
    DSAPERF_TRY(scan_value());
    return Kind::kMember;
  }
}

}  // namespace dsaperf::trace
