#include "dsaperf/collect/json.hpp"

#include "dsaperf/core/fail.hpp"

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::collect {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

// Turns the library's exceptions (a missing key, another type) into an error.
template <typename Read>
auto reading(const Read& read) -> Result<decltype(read())> {
  try {
    return read();
  } catch (const json::exception& error) {
    const std::string_view what = error.what();  // "[json.exception.out_of_range.403] key ..."
    return fail(Errc::kParse, "{}", what.substr(what.find("] ") + 2));
  }
}

ordered_json summary_to_json(const Summary& summary) {
  return {{"median_us", summary.median.value},
          {"p10_us", summary.p10.value},
          {"p90_us", summary.p90.value},
          {"count", summary.count},
          {"ci95", summary.ci95}};
}

Summary summary_from(const json& value) {
  return {.median = {value.at("median_us").get<double>()},
          .p10 = {value.at("p10_us").get<double>()},
          .p90 = {value.at("p90_us").get<double>()},
          .count = value.at("count").get<int>(),
          .ci95 = value.at("ci95").get<double>()};
}

ordered_json card_to_json(const CardState& card) {
  return {{"sm_mhz", card.sm_mhz},
          {"memory_mhz", card.memory_mhz},
          {"clocks_locked", card.clocks_locked},
          {"power_w", card.power_w},
          {"energy_j", card.energy_j},
          {"temperature_c", card.temperature_c},
          {"throttle_reasons", card.throttle_reasons}};
}

CardState card_from(const json& value) {
  return {.sm_mhz = value.at("sm_mhz").get<int>(),
          .memory_mhz = value.at("memory_mhz").get<int>(),
          .clocks_locked = value.at("clocks_locked").get<bool>(),
          .power_w = value.at("power_w").get<double>(),
          .energy_j = value.at("energy_j").get<double>(),
          .temperature_c = value.at("temperature_c").get<int>(),
          .throttle_reasons = value.at("throttle_reasons").get<std::vector<std::string>>()};
}

Result<model::Stage> stage_named(const std::string& text) {
  const auto stage = model::stage_from_name(text);
  if (!stage) return fail(Errc::kParse, "'{}' is no stage", text);
  return *stage;
}

}  // namespace

std::string json_line(const ordered_json& value) {
  return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + '\n';
}

ordered_json case_to_json(const Case& what) {
  if (what.product) {
    return {
        {"id", what.id()},      {"m", what.product->m},           {"n", what.product->n},
        {"k", what.product->k}, {"gemm", model::name(what.gemm)}, {"launch", name(what.launch)}};
  }
  ordered_json requests = ordered_json::array();
  for (const auto& group : what.requests) {
    requests.push_back({{"count", group.count},
                        {"new_tokens", group.new_tokens},
                        {"past_tokens", group.past_tokens}});
  }
  ordered_json value = {{"id", what.id()},
                        {"phase", perfdb::name(what.phase)},
                        {"batch", what.batch()},
                        {"requests", std::move(requests)},
                        {"heads", what.heads},
                        {"kv", model::name(what.kv)},
                        {"gemm", model::name(what.gemm)},
                        {"indexer_role", model::name(what.role)},
                        {"scores", name(what.scores)},
                        {"launch", name(what.launch)}};
  if (what.uniform()) {
    value["new_tokens"] = what.requests.front().new_tokens;
    value["past_tokens"] = what.requests.front().past_tokens;
  }
  return value;
}

ordered_json measurement_to_json(const Measurement& measurement) {
  ordered_json stages = ordered_json::array();
  for (const auto& stage : measurement.stages) {
    stages.push_back({{"name", model::name(stage.stage)},
                      {"time_us", stage.time.value},
                      {"cold_us", stage.cold.value},
                      {"kernel", stage.kernel}});
  }
  return {{"cold", summary_to_json(measurement.cold)},
          {"warm", summary_to_json(measurement.warm)},
          {"stages", std::move(stages)},
          {"card", card_to_json(measurement.card)},
          {"kernel_source", measurement.kernel_source}};
}

Result<Measurement> measurement_from_json(const json& value) {
  DSAPERF_TRY_ASSIGN(auto measurement, reading([&] {
                       return Measurement{
                           .cold = summary_from(value.at("cold")),
                           .warm = summary_from(value.at("warm")),
                           .card = card_from(value.at("card")),
                           .kernel_source = value.at("kernel_source").get<std::string>()};
                     }));
  DSAPERF_TRY_ASSIGN(const auto stages,
                     reading([&] { return value.at("stages").get<std::vector<json>>(); }));
  for (const auto& item : stages) {
    DSAPERF_TRY_ASSIGN(const auto text,
                       reading([&] { return item.at("name").get<std::string>(); }));
    DSAPERF_TRY_ASSIGN(const auto stage, stage_named(text));
    DSAPERF_TRY_ASSIGN(auto time, reading([&] {
                         return StageTime{.stage = stage,
                                          .time = {item.at("time_us").get<double>()},
                                          .cold = {item.value("cold_us", 0.0)},
                                          .kernel = item.at("kernel").get<std::string>()};
                       }));
    measurement.stages.push_back(std::move(time));
  }
  return measurement;
}

ordered_json source_to_json(const SourceInfo& info) {
  return {{"framework", info.framework},
          {"version", info.version},
          {"device", info.device},
          {"driver", info.driver},
          {"method", info.method}};
}

Result<SourceInfo> source_from_json(const json& value) {
  return reading([&] {
    return SourceInfo{.framework = value.at("framework").get<std::string>(),
                      .version = value.at("version").get<std::string>(),
                      .device = value.at("device").get<std::string>(),
                      .driver = value.at("driver").get<std::string>(),
                      .method = value.at("method").get<std::string>()};
  });
}

ordered_json header_to_json(const JournalHeader& header, std::string_view format) {
  return {{"format", format},
          {"model", header.model},
          {"architecture", header.architecture},
          {"source", source_to_json(header.source)},
          {"shard", {{"index", header.shard.index}, {"count", header.shard.count}}}};
}

Result<JournalHeader> header_from_json(const json& value, std::string_view format) {
  DSAPERF_TRY_ASSIGN(const auto found,
                     reading([&] { return value.at("format").get<std::string>(); }));
  if (found != format) {
    return fail(Errc::kUnsupported, "format '{}' is not {}: written by another version", found,
                format);
  }
  DSAPERF_TRY_ASSIGN(auto header, reading([&] {
                       return JournalHeader{
                           .model = value.at("model").get<std::string>(),
                           .architecture = value.at("architecture").get<std::string>(),
                           .shard = {.index = value.at("shard").at("index").get<int>(),
                                     .count = value.at("shard").at("count").get<int>()}};
                     }));
  DSAPERF_TRY_ASSIGN(const auto source, reading([&] { return value.at("source"); }));
  DSAPERF_TRY_ASSIGN(header.source, source_from_json(source));
  return header;
}

ordered_json entry_to_json(const Entry& entry) {
  ordered_json value = {
      {"id", entry.what.id()}, {"attempts", entry.attempts}, {"disturbed", entry.disturbed}};
  if (entry.error.empty()) {
    value["measurement"] = measurement_to_json(entry.measurement);
  } else {
    value["error"] = entry.error;
  }
  if (entry.repeat_ratio > 0) value["repeat_ratio"] = entry.repeat_ratio;
  if (entry.composed) value["composed"] = true;
  if (entry.composed_warm.value > 0) {
    value["composed_warm_us"] = entry.composed_warm.value;
    value["composed_cold_us"] = entry.composed_cold.value;
  }
  return value;
}

Result<Entry> entry_from_json(const json& value) {
  Entry entry;
  DSAPERF_TRY_ASSIGN(const auto id, reading([&] { return value.at("id").get<std::string>(); }));
  DSAPERF_TRY_ASSIGN(entry.what, Case::from_id(id));
  DSAPERF_TRY_ASSIGN(entry.attempts, reading([&] { return value.at("attempts").get<int>(); }));
  DSAPERF_TRY_ASSIGN(entry.disturbed, reading([&] { return value.at("disturbed").get<int>(); }));
  DSAPERF_TRY_ASSIGN(entry.repeat_ratio, reading([&] { return value.value("repeat_ratio", 0.0); }));
  DSAPERF_TRY_ASSIGN(entry.error, reading([&] { return value.value("error", std::string()); }));
  DSAPERF_TRY_ASSIGN(entry.composed, reading([&] { return value.value("composed", false); }));
  DSAPERF_TRY_ASSIGN(entry.composed_warm.value,
                     reading([&] { return value.value("composed_warm_us", 0.0); }));
  DSAPERF_TRY_ASSIGN(entry.composed_cold.value,
                     reading([&] { return value.value("composed_cold_us", 0.0); }));
  if (entry.error.empty()) {
    DSAPERF_TRY_ASSIGN(const auto measured, reading([&] { return value.at("measurement"); }));
    DSAPERF_TRY_ASSIGN(entry.measurement, measurement_from_json(measured));
  }
  return entry;
}

}  // namespace dsaperf::collect
