#include "dsaperf/predict/stages/kept_parts.hpp"

#include "dsaperf/core/file.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <zlib.h>

#include <cstdint>
#include <cstring>
#include <system_error>
#include <type_traits>

namespace dsaperf::predict::stages {
namespace {

namespace fs = std::filesystem;

// Raised where parts_of splits or sorts otherwise.
constexpr std::string_view kFormat = "dsaperf parts 2";
constexpr Bytes kMost{256 << 20};

struct Row {
  std::uint32_t heads, batch, new_tokens, past_tokens;
  double latency_ms;
};

class Writer {
 public:
  template <typename T>
  void value(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    text_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void text(std::string_view text) {
    value(text.size());
    text_ += text;
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

// What a Writer wrote; after the first thing that is not there everything is empty.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  template <typename T>
  T value() {
    T value{};
    const auto bytes = take(sizeof value);
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }
  std::string_view text() { return take(value<std::size_t>()); }
  std::string_view take(std::size_t size) {
    ok_ = ok_ && size <= rest_.size();
    if (!ok_) return {};
    const auto taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }
  std::string_view rest() const { return rest_; }
  bool ok() const { return ok_; }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

std::uint32_t checksum(std::string_view bytes) {
  return static_cast<std::uint32_t>(
      crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

void write_part(Writer& out, const Part& part) {
  for (const auto* text : {&part.kind.architecture, &part.kind.kv_dtype, &part.kind.fmha_dtype,
                           &part.kind.gemm_dtype, &part.kernel_source})
    out.text(*text);
  out.value(part.shares_selection);
  out.value(part.source);
  out.value(part.hash);
  const auto& setting = part.setting;
  out.value(setting.regime);
  out.value(setting.batch_from);
  out.value(setting.batch_to);
  out.value(setting.fewer_heads);
  out.value(setting.more_heads);
  out.value(part.observations.size());
  for (const auto& o : part.observations) {
    out.value(Row{.heads = static_cast<std::uint32_t>(o.sizes.heads),
                  .batch = static_cast<std::uint32_t>(o.sizes.batch),
                  .new_tokens = static_cast<std::uint32_t>(o.sizes.new_tokens),
                  .past_tokens = static_cast<std::uint32_t>(o.sizes.past_tokens),
                  .latency_ms = o.latency_ms});
  }
}

std::optional<Part> read_part(Reader& in, const perfdb::SystemFile& system, perfdb::Phase phase) {
  Part part;
  for (auto* text : {&part.kind.architecture, &part.kind.kv_dtype, &part.kind.fmha_dtype,
                     &part.kind.gemm_dtype, &part.kernel_source})
    *text = in.text();
  part.shares_selection = in.value<bool>();
  part.source = in.value<std::int32_t>();
  part.hash = in.value<std::uint64_t>();
  auto setting = make_setting(system, part.kind, phase, in.value<Regime>(), !part.shares_selection);
  if (!in.ok() || !setting) return std::nullopt;
  part.setting = *setting;
  part.setting.batch_from = in.value<double>();
  part.setting.batch_to = in.value<double>();
  part.setting.fewer_heads = in.value<bool>();
  part.setting.more_heads = in.value<bool>();
  const auto count = in.value<std::size_t>();
  const auto rows = in.take(count * sizeof(Row));
  if (count == 0 || rows.size() / sizeof(Row) != count) return std::nullopt;
  part.observations.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    Row row;  // NOLINT(cppcoreguidelines-pro-type-member-init): written whole
    std::memcpy(&row, rows.data() + i * sizeof row, sizeof row);
    part.observations.push_back({.sizes = {.heads = static_cast<double>(row.heads),
                                           .batch = static_cast<double>(row.batch),
                                           .new_tokens = static_cast<double>(row.new_tokens),
                                           .past_tokens = static_cast<double>(row.past_tokens)},
                                 .latency_ms = row.latency_ms});
  }
  return part;
}

}  // namespace

KeptParts::KeptParts(const fs::path& folder, const perfdb::SystemFile& system,
                     std::string_view backend, std::string_view version, perfdb::Phase phase,
                     const std::vector<perfdb::TableSource>& sources)
    : phase_(phase), origin_(fmt::format("{}\n{:a}\n", kFormat, system.mem_bw)) {
  if (folder.empty()) return;
  path_ = folder / "parts" /
          fmt::format("{}-{}-{}-{}", system.name, backend, version, perfdb::name(phase));
  for (const auto& source : sources) {
    std::error_code ignored;
    origin_ +=
        fmt::format("{} {} {} {}\n", source.path.native(), fs::file_size(source.path, ignored),
                    fs::last_write_time(source.path, ignored).time_since_epoch().count(),
                    fmt::join(source.kernel_sources, " "));
  }
}

std::optional<std::vector<Part>> KeptParts::read(const perfdb::SystemFile& system) const {
  std::error_code ignored;
  if (path_.empty() || !fs::exists(path_, ignored)) return std::nullopt;
  const auto text = read_file(path_, kMost);
  if (!text) return std::nullopt;
  Reader in(*text);
  if (in.text() != origin_) return std::nullopt;
  const auto sum = in.value<std::uint32_t>();
  if (!in.ok() || sum != checksum(in.rest())) return std::nullopt;
  std::vector<Part> parts;
  const auto count = in.value<std::size_t>();
  while (in.ok() && parts.size() < count) {
    auto part = read_part(in, system, phase_);
    if (!part) return std::nullopt;
    parts.push_back(*std::move(part));
  }
  if (!in.ok()) return std::nullopt;
  return parts;
}

void KeptParts::write(const std::vector<Part>& parts) const {
  if (path_.empty()) return;
  Writer rows;
  rows.value(parts.size());
  for (const auto& part : parts) write_part(rows, part);
  const auto bytes = rows.take();
  Writer out;
  out.text(origin_);
  out.value(checksum(bytes));
  static_cast<void>(write_file(path_, out.take() + bytes));
}

}  // namespace dsaperf::predict::stages
