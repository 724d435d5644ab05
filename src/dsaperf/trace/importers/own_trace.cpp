#include "dsaperf/trace/importers/own_trace.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/trace/importers/json_events.hpp"
#include "dsaperf/trace/json_text.hpp"

#include <simdjson.h>

#include <cmath>

namespace dsaperf::trace {
namespace {

namespace od = simdjson::ondemand;

constexpr std::string_view kFormatPrefix = "dsaperf.trace.";
constexpr std::string_view kFormat = "dsaperf.trace.1";

class OwnImporter {
 public:
  Result<Timeline> read(JsonSplitter splitter) {
    timeline_.format = Format::kOwn;
    while (true) {
      DSAPERF_TRY_ASSIGN(const auto kind, splitter.next());
      if (kind == JsonSplitter::Kind::kEnd) break;
      if (kind == JsonSplitter::Kind::kElement) {
        ++count_;
        if (!launch(splitter)) return damaged("launch");
      } else {
        DSAPERF_TRY(member(splitter));
      }
    }
    if (!known_format_) return fail(Errc::kParse, "no \"format\" in this trace");
    return std::move(timeline_);
  }

 private:
  tl::unexpected<Error> damaged(std::string_view what) const {
    return fail(Errc::kParse, "{} {} is not as {} has it", what, count_, kFormat);
  }

  simdjson::error_code parse(const JsonSplitter& splitter, od::document& document) {
    const auto text = splitter.value();
    return parser_.iterate(text.data(), text.size(), splitter.value_capacity()).get(document);
  }

  Result<void> member(const JsonSplitter& splitter) {
    od::document document;
    if (parse(splitter, document)) return fail(Errc::kParse, "\"{}\" is not JSON", splitter.key());
    if (splitter.key() == "format") {
      std::string_view format;
      if (document.get_string().get(format)) format = {};
      if (format != kFormat) {
        return fail(Errc::kUnsupported, "format \"{}\" is not known here; this program reads {}",
                    format, kFormat);
      }
      known_format_ = true;
    } else if (splitter.key() == "origin_ns") {
      if (document.get_int64().get(timeline_.origin_ns)) return damaged("origin_ns");
    } else if (splitter.key() == "devices" || splitter.key() == "names") {
      od::array texts;
      if (document.get_array().get(texts)) return damaged(splitter.key());
      const bool names = splitter.key() == "names";
      for (auto element : texts) {
        std::string_view text;
        if (element.get_string().get(text)) return damaged(splitter.key());
        if (names) {
          ids_.push_back(timeline_.names.intern(text));
        } else {
          timeline_.devices.emplace_back(text);
        }
      }
    } else if (splitter.key() == "ranges") {
      od::array rows;
      if (document.get_array().get(rows)) return damaged("ranges");
      for (auto element : rows) {
        od::array row;
        if (element.get_array().get(row) || !fields(row, false) || count_fields_ != 4) {
          return damaged("range");
        }
        const auto name = name_at(0);
        if (name == kNoName) return damaged("range");
        timeline_.ranges.push_back({.name = name,
                                    .start_ns = values_[1],
                                    .end_ns = values_[2],
                                    .thread = static_cast<std::int64_t>(values_[3])});
      }
    } else if (splitter.key() == "truncated") {
      bool truncated = false;
      if (!document.get_bool().get(truncated) && truncated) {
        timeline_.warnings.emplace_back("the recording lost launches: its buffers were full");
      }
    }
    return {};
  }

  // The numbers of a row into values_, null as NaN; a leading text into kind_.
  bool fields(od::array row, bool with_kind) {
    count_fields_ = 0;
    bool first = with_kind;
    for (auto element : row) {
      od::value value;
      if (element.get(value)) return false;
      if (std::exchange(first, false)) {
        if (value.get_string().get(kind_)) return false;
        continue;
      }
      if (count_fields_ == kMostFields) return false;
      double number = kUnknownTime;
      if (value.get_double().get(number) && !value.raw_json_token().starts_with("null"))
        return false;
      if (std::abs(number) > 9e18) return false;
      values_[count_fields_++] = number;
    }
    return true;
  }

  std::uint32_t name_at(std::size_t field) const {
    const double id = values_[field];
    return id >= 0 && id < static_cast<double>(ids_.size()) ? ids_[static_cast<std::size_t>(id)]
                                                            : kNoName;
  }

  bool launch(const JsonSplitter& splitter) {
    od::document document;
    od::array row;
    if (parse(splitter, document) || document.get_array().get(row) || !fields(row, true) ||
        count_fields_ != kMostFields) {
      return false;
    }
    const auto name = name_at(0);
    for (const int required : {1, 2, 3, 4, 5, 6}) {
      if (std::isnan(values_[required])) return false;
    }
    if (name == kNoName || values_[2] < 0 || std::abs(values_[3]) > 1e6) return false;
    const Launch launch{.start_ns = values_[1],
                        .duration_ns = values_[2],
                        .launched_ns = values_[7],
                        .stream = static_cast<std::int64_t>(values_[4]),
                        .process = static_cast<std::int64_t>(values_[5]),
                        .graph_node = static_cast<std::int64_t>(values_[6]),
                        .name = name,
                        .range = name_at(8),
                        .device = static_cast<std::int32_t>(values_[3])};
    if (kind_ == "k") {
      timeline_.launches.push_back(launch);
    } else if (kind_ == "c") {
      timeline_.copies.push_back(launch);
    } else if (kind_ == "s") {
      timeline_.fills.push_back(launch);
    } else {
      return false;
    }
    return true;
  }

  static constexpr std::size_t kMostFields = 9;
  od::parser parser_;
  Timeline timeline_;
  std::vector<std::uint32_t> ids_;  // of "names"
  bool known_format_ = false;
  std::int64_t count_ = 0;
  std::string_view kind_;
  double values_[kMostFields] = {};
  std::size_t count_fields_ = 0;
};

void append_list(std::string& out, std::string_view key, const std::vector<std::string>& texts) {
  fmt::format_to(std::back_inserter(out), "\"{}\": [", key);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (i > 0) out += ", ";
    append_json_string(out, texts[i]);
  }
  out += "],\n";
}

}  // namespace

bool is_own_trace(std::string_view front) {
  return front.substr(0, 200).find(kFormatPrefix) != std::string_view::npos;
}

Result<Timeline> read_own_trace(ByteReader bytes) {
  DSAPERF_TRY_ASSIGN(auto splitter, JsonSplitter::over(std::move(bytes), "launches"));
  return OwnImporter().read(std::move(splitter));
}

std::string own_trace_text(const Timeline& timeline) {
  std::string out =
      fmt::format("{{\"format\": \"{}\", \"origin_ns\": {},\n", kFormat, timeline.origin_ns);
  append_list(out, "devices", timeline.devices);
  std::vector<std::string> names;
  for (std::uint32_t id = 0; id < timeline.names.size(); ++id) names.push_back(timeline.names[id]);
  append_list(out, "names", names);
  out += "\"ranges\": [";
  const char* separator = "\n";
  for (const auto& range : timeline.ranges) {
    fmt::format_to(std::back_inserter(out), "{}[{}, {}, {}, {}]", separator, range.name,
                   range.start_ns, range.end_ns, range.thread);
    separator = ",\n";
  }
  out += "],\n\"launches\": [";
  separator = "\n";
  const auto append = [&](const char* kind, const std::vector<Launch>& launches) {
    for (const auto& launch : launches) {
      fmt::format_to(std::back_inserter(out), "{}[\"{}\", {}, {}, {}, {}, {}, {}, {}, {}, {}]",
                     separator, kind, launch.name, launch.start_ns, launch.duration_ns,
                     launch.device, launch.stream, launch.process, launch.graph_node,
                     std::isnan(launch.launched_ns) ? "null" : format_double(launch.launched_ns),
                     launch.range == kNoName ? "null" : std::to_string(launch.range));
      separator = ",\n";
    }
  };
  append("k", timeline.launches);
  append("c", timeline.copies);
  append("s", timeline.fills);
  out += "]}\n";
  return out;
}

}  // namespace dsaperf::trace
