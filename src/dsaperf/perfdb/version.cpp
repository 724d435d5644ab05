#include "dsaperf/perfdb/version.hpp"

#include "dsaperf/core/lower_case.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>

namespace dsaperf::perfdb {
namespace {

class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  bool at_end() const { return rest_.empty(); }
  bool accept(std::string_view token) {
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    return true;
  }
  bool accept_separator() { return accept(".") || accept("-") || accept("_"); }
  std::optional<std::int64_t> number() {
    std::int64_t value = 0;
    const auto [end, status] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (status != std::errc() || end == rest_.data() || rest_.front() == '-') return std::nullopt;
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    return value;
  }
  std::string_view rest() const { return rest_; }
  void reset(std::string_view rest) { rest_ = rest; }

 private:
  std::string_view rest_;
};

struct PreName {
  std::string_view text;
  int kind;
};
constexpr PreName kPreNames[] = {{"alpha", 0}, {"beta", 1}, {"preview", 2}, {"pre", 2},
                                 {"rc", 2},    {"a", 0},    {"b", 1},       {"c", 2}};

bool is_number(const std::string& text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c); });
}

std::weak_ordering compare_local(const std::string& a, const std::string& b) {
  if (is_number(a) != is_number(b)) {
    return is_number(a) ? std::weak_ordering::greater : std::weak_ordering::less;
  }
  if (is_number(a) && a.size() != b.size()) return a.size() <=> b.size();
  return a.compare(b) <=> 0;
}

}  // namespace

std::optional<Version> Version::parse(std::string_view text) {
  const std::string lower = lower_case(text);
  Scanner scan(lower);
  scan.accept("v");
  Version version;
  auto number = scan.number();
  if (!number) return std::nullopt;
  if (scan.accept("!")) {
    version.epoch_ = *number;
    number = scan.number();
    if (!number) return std::nullopt;
  }
  version.release_.push_back(*number);
  while (true) {
    const auto before = scan.rest();
    if (!scan.accept(".")) break;
    const auto part = scan.number();
    if (!part) {
      scan.reset(before);
      break;
    }
    version.release_.push_back(*part);
  }
  while (version.release_.size() > 1 && version.release_.back() == 0) version.release_.pop_back();

  auto before = scan.rest();
  scan.accept_separator();
  const auto* pre = std::find_if(std::begin(kPreNames), std::end(kPreNames),
                                 [&](const PreName& name) { return scan.accept(name.text); });
  if (pre != std::end(kPreNames)) {
    scan.accept_separator();
    version.pre_kind_ = pre->kind;
    version.pre_ = scan.number().value_or(0);
    before = scan.rest();
  } else {
    scan.reset(before);
  }
  scan.accept_separator();
  if (scan.accept("post") || scan.accept("rev") || scan.accept("r")) {
    scan.accept_separator();
    version.post_ = scan.number().value_or(0);
    before = scan.rest();
  } else {
    scan.reset(before);
  }
  scan.accept_separator();
  if (scan.accept("dev")) {
    scan.accept_separator();
    version.dev_ = scan.number().value_or(0);
    if (version.pre_kind_ == 3 && version.post_ < 0) version.pre_kind_ = -1;
  } else {
    scan.reset(before);
  }
  if (scan.accept("+")) {
    std::string part;
    for (const char c : scan.rest()) {
      if (c == '.' || c == '-' || c == '_') {
        version.local_.push_back(std::move(part));
        part.clear();
      } else if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
        part += c;
      } else {
        return std::nullopt;
      }
    }
    version.local_.push_back(std::move(part));
    scan.reset({});
  }
  if (!scan.at_end()) return std::nullopt;
  return version;
}

std::weak_ordering Version::operator<=>(const Version& other) const {
  if (const auto order = epoch_ <=> other.epoch_; order != 0) return order;
  if (const auto order = release_ <=> other.release_; order != 0) return order;
  if (const auto order = pre_kind_ <=> other.pre_kind_; order != 0) return order;
  if (const auto order = pre_ <=> other.pre_; order != 0) return order;
  if (const auto order = post_ <=> other.post_; order != 0) return order;
  if (const auto order = dev_ <=> other.dev_; order != 0) return order;
  const auto shared = std::min(local_.size(), other.local_.size());
  for (std::size_t i = 0; i < shared; ++i) {
    if (const auto order = compare_local(local_[i], other.local_[i]); order != 0) return order;
  }
  return local_.size() <=> other.local_.size();
}

bool version_less(const std::string& a, const std::string& b) {
  const auto x = Version::parse(a);
  const auto y = Version::parse(b);
  if (x && y) return *x == *y ? a < b : *x < *y;
  return x.has_value() == y.has_value() ? a < b : !x;
}

}  // namespace dsaperf::perfdb
