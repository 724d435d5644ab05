#pragma once

#include "dsaperf/collect/journal.hpp"
#include "dsaperf/collect/plan.hpp"

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <string_view>

// The one JSON form of cases and measurements: lines of a journal, messages between the collector
// and its workers, and `--plan-only --json`. docs/formats/collect.md lists the keys.
namespace dsaperf::collect {

// A line of a journal or of what collector and worker say to each other. Reasons of failures quote
// foreign bytes: what is no UTF-8 in them is replaced.
std::string json_line(const nlohmann::ordered_json& value);

nlohmann::ordered_json case_to_json(const Case& what);

nlohmann::ordered_json measurement_to_json(const Measurement& measurement);
Result<Measurement> measurement_from_json(const nlohmann::json& value);

nlohmann::ordered_json source_to_json(const SourceInfo& info);
Result<SourceInfo> source_from_json(const nlohmann::json& value);

nlohmann::ordered_json header_to_json(const JournalHeader& header, std::string_view format);
Result<JournalHeader> header_from_json(const nlohmann::json& value, std::string_view format);

nlohmann::ordered_json entry_to_json(const Entry& entry);
Result<Entry> entry_from_json(const nlohmann::json& value);

}  // namespace dsaperf::collect
