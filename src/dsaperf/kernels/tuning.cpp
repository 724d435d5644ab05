#include "dsaperf/kernels/tuning.hpp"

#include "dsaperf/core/ceil_div.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"
#include "dsaperf/kernels/sm90/topk/plan.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <system_error>
#include <tuple>
#include <utility>

namespace dsaperf::kernels {
namespace {

using nlohmann::json;

constexpr std::string_view kFormat = "dsaperf.tuning.1";
constexpr Bytes kMostBytes{1 << 20};
constexpr int kMostEarlyRequests = 256;  // whose producers find their work alone
constexpr std::array kKernelNames = {
    std::pair{TunedKernel::kSparsePrefill, std::string_view("sparse_prefill")},
    std::pair{TunedKernel::kSparseDecode, std::string_view("sparse_decode")},
    std::pair{TunedKernel::kScores, std::string_view("scores")},
    std::pair{TunedKernel::kPagedScores, std::string_view("paged_scores")},
    std::pair{TunedKernel::kTopk, std::string_view("topk")},
    std::pair{TunedKernel::kPagedSelect, std::string_view("paged_select")}};
constexpr std::array kVariantNames = {
    std::pair{Variant::kDefault, std::string_view("default")},
    std::pair{Variant::kTwoProducers, std::string_view("two_producers")},
    std::pair{Variant::kSplit, std::string_view("split")},
    std::pair{Variant::kTwoProducersSplit, std::string_view("two_producers_split")},
    std::pair{Variant::kFewHeads, std::string_view("few_heads")},
    std::pair{Variant::kEarly, std::string_view("early")},
    std::pair{Variant::kEarlyFour, std::string_view("early_four")},
    std::pair{Variant::kSpread512x4, std::string_view("spread_512x4")},
    std::pair{Variant::kSpread512x8, std::string_view("spread_512x8")},
    std::pair{Variant::kSpread512x16, std::string_view("spread_512x16")},
    std::pair{Variant::kSpread1024x8, std::string_view("spread_1024x8")},
    std::pair{Variant::kSpread1024x16, std::string_view("spread_1024x16")},
    std::pair{Variant::kSegments, std::string_view("segments")},
    std::pair{Variant::kFused, std::string_view("fused")}};

template <class Names, class Value>
std::string_view name_in(const Names& names, Value value) {
  for (const auto& [each, text] : names)
    if (each == value) return text;
  return "?";
}

template <class Value, class Names>
std::optional<Value> value_in(const Names& names, std::string_view text) {
  for (const auto& [each, known] : names)
    if (known == text) return each;
  return std::nullopt;
}

bool is_attention(TunedKernel kernel) {
  return kernel == TunedKernel::kSparsePrefill || kernel == TunedKernel::kSparseDecode;
}

// Of decode alone: how many new tokens a request has is part of the shape.
bool has_q_len(TunedKernel kernel) {
  return kernel == TunedKernel::kPagedScores || kernel == TunedKernel::kPagedSelect;
}

bool few_heads_of_bf16(const TunedShape& shape) {
  return !shape.fp8 && (shape.heads == 8 || shape.heads == 16 || shape.heads == 32);
}

int blocks_of(std::int64_t topk) {
  constexpr int kBlock = 64;
  return static_cast<int>(ceil_div(topk, kBlock));
}

// Whether so many clusters run at once: each needs its SMs in one group of SMs, and the groups are
// no multiples of it. An H200's 132 SMs take 30 of 4, 15 of 8, 7 of 16
// (cudaOccupancyMaxActiveClusters).
bool run_at_once(std::int64_t clusters, int cluster, int sm_count) {
  return clusters * cluster <= (cluster == 1 ? sm_count : sm_count * 10 / 11);
}

// Typed fields of one entry; the first that is missing or of another type is the error.
class Fields {
 public:
  explicit Fields(const json& object) : object_(object) {}

  Result<std::string> text(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end() || !found->is_string())
      return fail(Errc::kParse, "{}: a text is needed", key);
    return found->get<std::string>();
  }
  Result<std::int64_t> integer(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end() || !found->is_number_integer())
      return fail(Errc::kParse, "{}: an integer is needed", key);
    return found->get<std::int64_t>();
  }
  Result<double> number(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end() || !found->is_number())
      return fail(Errc::kParse, "{}: a number is needed", key);
    return found->get<double>();
  }
  Result<std::pair<std::int64_t, std::int64_t>> range(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end() || !found->is_array() || found->size() != 2 ||
        !(*found)[0].is_number_integer() || !(*found)[1].is_number_integer())
      return fail(Errc::kParse, "{}: two integers [from, to] are needed", key);
    const std::pair range{(*found)[0].get<std::int64_t>(), (*found)[1].get<std::int64_t>()};
    if (range.first < 0 || range.second < range.first)
      return fail(Errc::kParse, "{}: [{}, {}] is no range", key, range.first, range.second);
    return range;
  }

 private:
  const json& object_;
};

Result<TuningEntry> parse_entry(const json& object) {
  if (!object.is_object()) return fail(Errc::kParse, "an object is needed");
  const Fields fields(object);
  TuningEntry entry;
  DSAPERF_TRY_ASSIGN(const auto kernel, fields.text("kernel"));
  const auto known_kernel = tuned_kernel_from_name(kernel);
  if (!known_kernel) return fail(Errc::kParse, "kernel: \"{}\" is not known", kernel);
  entry.kernel = *known_kernel;
  DSAPERF_TRY_ASSIGN(const auto variant, fields.text("variant"));
  const auto known_variant = variant_from_name(variant);
  if (!known_variant) return fail(Errc::kParse, "variant: \"{}\" is not known", variant);
  entry.variant = *known_variant;
  if (is_attention(entry.kernel)) {
    DSAPERF_TRY_ASSIGN(const auto kv, fields.text("kv"));
    if (kv != "bf16" && kv != "fp8") return fail(Errc::kParse, "kv: \"{}\" is not known", kv);
    entry.fp8 = kv == "fp8";
  }
  if (entry.kernel != TunedKernel::kTopk) {
    DSAPERF_TRY_ASSIGN(const auto heads, fields.integer("heads"));
    if (heads < 1 || heads > 1024) return fail(Errc::kParse, "heads: {}", heads);
    entry.heads = static_cast<int>(heads);
  }
  if (has_q_len(entry.kernel)) {
    DSAPERF_TRY_ASSIGN(const auto q_len, fields.integer("q_len"));
    if (q_len < 1 || q_len > 1024) return fail(Errc::kParse, "q_len: {}", q_len);
    entry.q_len = static_cast<int>(q_len);
  }
  DSAPERF_TRY_ASSIGN(const auto rows, fields.range("rows"));
  DSAPERF_TRY_ASSIGN(const auto columns, fields.range("columns"));
  std::tie(entry.rows_from, entry.rows_to) = rows;
  std::tie(entry.columns_from, entry.columns_to) = columns;
  DSAPERF_TRY_ASSIGN(entry.variant_us, fields.number("variant_us"));
  DSAPERF_TRY_ASSIGN(entry.default_us, fields.number("default_us"));
  return entry;
}

}  // namespace

std::string_view name(TunedKernel kernel) {
  return name_in(kKernelNames, kernel);
}
std::string_view name(Variant variant) {
  return name_in(kVariantNames, variant);
}
std::optional<TunedKernel> tuned_kernel_from_name(std::string_view name) {
  return value_in<TunedKernel>(kKernelNames, name);
}
std::optional<Variant> variant_from_name(std::string_view name) {
  return value_in<Variant>(kVariantNames, name);
}

int split_parts(std::int64_t items, int heads, int blocks, int sm_count) {
  constexpr std::int64_t kMostParts = 32;  // what the combining kernel takes
  constexpr int kWholeTile = 64;           // heads
  if (items < 1 || blocks < 2) return 1;
  const auto fill =
      static_cast<int>(std::min({sm_count / items, kMostParts, std::int64_t{blocks}}));
  if (fill < 2) return 1;
  int longest = (blocks + fill - 1) / fill;
  // A part writes 2 KB a head, and reads as much of Q, however short its list: with all heads of a
  // tile, 128 parts of one block take longer than 64 of two (H200, cold: 19.2 and 17.1 us).
  if (longest == 1 && heads >= kWholeTile && items * fill > sm_count / 2) longest = 2;
  return (blocks + longest - 1) / longest;
}

int spread_cluster(Variant variant, std::int64_t columns) {
  constexpr int kMostCluster = 16;
  std::int64_t of_cta = 0;
  if (variant == Variant::kSpread512x4) of_cta = 512 * 4;
  if (variant == Variant::kSpread512x8) of_cta = 512 * 8;
  if (variant == Variant::kSpread512x16) of_cta = 512 * 16;
  if (variant == Variant::kSpread1024x8) of_cta = 1024 * 8;
  if (variant == Variant::kSpread1024x16) of_cta = 1024 * 16;
  if (of_cta == 0 || columns < 1) return 0;
  int cluster = 1;
  while (cluster * of_cta < columns && cluster <= kMostCluster) cluster *= 2;
  return cluster <= kMostCluster ? cluster : 0;
}

std::vector<Variant> variants_of(const TunedShape& shape, int sm_count) {
  std::vector<Variant> variants = {Variant::kDefault};
  switch (shape.kernel) {
    case TunedKernel::kSparsePrefill:
      if (shape.fp8) variants.push_back(Variant::kTwoProducers);
      if (few_heads_of_bf16(shape)) variants.push_back(Variant::kFewHeads);
      break;
    case TunedKernel::kSparseDecode: {
      const std::int64_t items = shape.rows * std::max(shape.heads / 64, 1);
      const bool splits = split_parts(items, shape.heads, blocks_of(shape.columns), sm_count) > 1;
      if (shape.fp8) variants.push_back(Variant::kTwoProducers);
      if (few_heads_of_bf16(shape)) variants.push_back(Variant::kFewHeads);
      if (splits) variants.push_back(Variant::kSplit);
      if (splits && shape.fp8) variants.push_back(Variant::kTwoProducersSplit);
      break;
    }
    case TunedKernel::kScores:
      if (shape.heads == 32 || shape.heads == 64) variants.push_back(Variant::kEarly);
      break;
    case TunedKernel::kPagedSelect:
      if ((shape.heads == 32 || shape.heads == 64) && shape.q_len == 1 &&
          shape.rows <= kMostEarlyRequests)
        variants.push_back(Variant::kFused);
      break;
    case TunedKernel::kPagedScores: {
      const int columns = shape.heads * shape.q_len;
      if ((shape.heads == 32 || shape.heads == 64) && columns <= 256 &&
          shape.rows <= kMostEarlyRequests) {
        variants.push_back(Variant::kEarly);
        if (columns > 64 && columns <= 128) variants.push_back(Variant::kEarlyFour);
      }
      break;
    }
    case TunedKernel::kTopk:
      for (const Variant each :
           {Variant::kSpread512x4, Variant::kSpread512x8, Variant::kSpread512x16,
            Variant::kSpread1024x8, Variant::kSpread1024x16}) {
        // Clusters that wait for others take twice as long (measured); a CTA a row is better.
        const int cluster = spread_cluster(each, shape.columns);
        if (cluster > 0 && run_at_once(shape.rows, cluster, sm_count)) variants.push_back(each);
      }
      if (const auto plan = sm90::plan_segments(shape.columns);
          plan && run_at_once(shape.rows * plan->segments, plan->cluster, sm_count))
        variants.push_back(Variant::kSegments);
      break;
  }
  return variants;
}

bool TuningEntry::holds(const TunedShape& shape) const {
  return kernel == shape.kernel && fp8 == shape.fp8 && heads == shape.heads &&
         q_len == shape.q_len && rows_from <= shape.rows && shape.rows <= rows_to &&
         columns_from <= shape.columns && shape.columns <= columns_to;
}

bool TuningEntry::overlaps(const TuningEntry& other) const {
  return kernel == other.kernel && fp8 == other.fp8 && heads == other.heads &&
         q_len == other.q_len && rows_from <= other.rows_to && other.rows_from <= rows_to &&
         columns_from <= other.columns_to && other.columns_from <= columns_to;
}

Variant TuningTable::choose(const TunedShape& shape) const {
  const auto found =
      std::ranges::find_if(entries, [&](const TuningEntry& entry) { return entry.holds(shape); });
  if (found == entries.end() || found->variant == Variant::kDefault) return Variant::kDefault;
  const auto possible = variants_of(shape, sm_count);
  return std::ranges::find(possible, found->variant) != possible.end() ? found->variant
                                                                       : Variant::kDefault;
}

Result<TuningTable> parse_tuning(std::string_view text) {
  const json document = json::parse(text, nullptr, false);
  if (document.is_discarded()) return fail(Errc::kParse, "not JSON");
  if (!document.is_object()) return fail(Errc::kParse, "an object is needed");
  const Fields fields(document);
  DSAPERF_TRY_ASSIGN(const auto format, fields.text("format"));
  if (format != kFormat)
    return fail(Errc::kUnsupported, "format \"{}\"; this program reads {}", format, kFormat);
  TuningTable table;
  DSAPERF_TRY_ASSIGN(table.device, fields.text("device"));
  DSAPERF_TRY_ASSIGN(table.commit, fields.text("commit"));
  DSAPERF_TRY_ASSIGN(const auto sm_count, fields.integer("sm_count"));
  if (sm_count < 1 || sm_count > 1024) return fail(Errc::kParse, "sm_count: {}", sm_count);
  table.sm_count = static_cast<int>(sm_count);
  const auto entries = document.find("entries");
  if (entries == document.end() || !entries->is_array())
    return fail(Errc::kParse, "entries: a list is needed");
  for (const json& object : *entries) {
    const auto at = table.entries.size();
    auto entry = parse_entry(object).map_error(
        [&](Error error) { return std::move(error).with_context("entry " + std::to_string(at)); });
    if (!entry) return tl::unexpected(std::move(entry).error());
    for (std::size_t i = 0; i < at; ++i)
      if (table.entries[i].overlaps(*entry))
        return fail(Errc::kParse, "entry {}: overlaps entry {}", at, i);
    table.entries.push_back(*std::move(entry));
  }
  return table;
}

std::string to_json(const TuningTable& table) {
  auto entries = nlohmann::ordered_json::array();
  for (const TuningEntry& entry : table.entries) {
    nlohmann::ordered_json object = {{"kernel", name(entry.kernel)}};
    if (is_attention(entry.kernel)) object["kv"] = entry.fp8 ? "fp8" : "bf16";
    if (entry.kernel != TunedKernel::kTopk) object["heads"] = entry.heads;
    if (has_q_len(entry.kernel)) object["q_len"] = entry.q_len;
    object["rows"] = {entry.rows_from, entry.rows_to};
    object["columns"] = {entry.columns_from, entry.columns_to};
    object["variant"] = name(entry.variant);
    object["variant_us"] = entry.variant_us;
    object["default_us"] = entry.default_us;
    entries.push_back(std::move(object));
  }
  const nlohmann::ordered_json document = {{"format", kFormat},
                                           {"device", table.device},
                                           {"sm_count", table.sm_count},
                                           {"commit", table.commit},
                                           {"entries", std::move(entries)}};
  return document.dump(1) + "\n";
}

std::optional<std::string> card_of_device(std::string_view device) {
  struct Card {
    std::string_view device, name;
  };
  // As nvidia-smi names them; the longer of two that begin alike comes first.
  constexpr std::array kCards = {Card{"NVIDIA H200", "h200_sxm"},
                                 Card{"NVIDIA H100 80GB HBM3", "h100_sxm"},
                                 Card{"NVIDIA H100 PCIe", "h100_pcie"}, Card{"NVIDIA H20", "h20"}};
  for (const Card& card : kCards)
    if (device == card.device) return std::string(card.name);
  return std::nullopt;
}

Result<TuningTable> read_tuning(const std::filesystem::path& data, std::string_view card) {
  const auto path = data / "tuning" / (std::string(card) + ".json");
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return TuningTable{};
  DSAPERF_TRY_ASSIGN(const auto text, read_file(path, kMostBytes));
  return parse_tuning(text).map_error([&](Error parse_error) {
    return std::move(parse_error)
        .with_context(path.native() + " (write it anew with `dsaperf bench --tune`, or remove it)");
  });
}

}  // namespace dsaperf::kernels
