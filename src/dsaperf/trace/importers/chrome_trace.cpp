#include "dsaperf/trace/importers/chrome_trace.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/trace/importers/host_calls.hpp"
#include "dsaperf/trace/importers/json_events.hpp"

#include <simdjson.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <string>

namespace dsaperf::trace {
namespace {

namespace od = simdjson::ondemand;

enum class Category {
  kOther,
  kKernel,
  kCopy,
  kFill,
  kRuntime,
  kOperator,
  kAnnotation,
};

bool equals_ignoring_case(std::string_view text, std::string_view lower) {
  return text.size() == lower.size() &&
         std::equal(text.begin(), text.end(), lower.begin(), [](char a, char b) {
           return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
         });
}

Category category(std::string_view text) {
  struct Known {
    std::string_view text;
    Category category;
  };
  static constexpr Known kKnown[] = {
      {"kernel", Category::kKernel},
      {"gpu_memcpy", Category::kCopy},
      {"memcpy", Category::kCopy},
      {"gpu_memset", Category::kFill},
      {"memset", Category::kFill},
      {"cuda_runtime", Category::kRuntime},
      {"cuda_driver", Category::kRuntime},
      {"hip_runtime", Category::kRuntime},
      {"runtime", Category::kRuntime},
      {"xpu_runtime", Category::kRuntime},
      {"cpu_op", Category::kOperator},
      {"operator", Category::kOperator},
      {"user_annotation", Category::kAnnotation},
  };
  for (const auto& known : kKnown) {
    if (equals_ignoring_case(text, known.text)) return known.category;
  }
  return Category::kOther;
}

// A number, or a text that is one.
std::optional<double> number(od::value value) {
  double result = 0;
  if (!value.get_double().get(result)) return result;
  std::string_view text;
  if (!value.get_string().get(text)) return parse_double(text);
  return std::nullopt;
}

std::int64_t integer_or(od::value value, std::int64_t fallback) {
  const auto found = number(value);
  if (!found || !(std::abs(*found) < 9e18)) return fallback;
  return static_cast<std::int64_t>(*found);
}

// Appends a JSON value as words: strings bare, lists in brackets without spaces.
void append_words(std::string& out, std::string_view json, std::size_t limit) {
  bool in_string = false;
  int depth = 0;
  for (const char c : json) {
    if (out.size() >= limit) return;
    if (c == '"') {
      in_string = !in_string;
    } else if (c == '[' || c == ']') {
      const bool outer = c == '[' ? depth++ == 0 : --depth == 0;
      if (!outer) out += c;
    } else if (c == ',' && depth <= 1) {
      out += ' ';
    } else if (c != ' ' || in_string) {
      out += c == ' ' ? '_' : c;
    }
  }
}

class ChromeImporter {
 public:
  Result<Timeline> read(JsonSplitter splitter) {
    std::int64_t events = 0;
    while (true) {
      DSAPERF_TRY_ASSIGN(const auto kind, splitter.next());
      if (kind == JsonSplitter::Kind::kEnd) break;
      if (kind == JsonSplitter::Kind::kMember) {
        member(splitter);
        continue;
      }
      ++events;
      event(splitter);
    }
    timeline_.format = Format::kChromeTrace;
    timeline_.source.events = events;
    open_ended_ = splitter.open_ended();
    return finish();
  }

 private:
  void member(const JsonSplitter& splitter) {
    if (splitter.key() == "traceEvents") {
      not_an_array_ = true;
    } else if (splitter.key() == "deviceProperties") {
      od::document document;
      od::array devices;
      if (parse(splitter, document) || document.get_array().get(devices)) return;
      for (auto device : devices) {
        std::string_view name;
        if (device["name"].get_string().get(name)) return;
        timeline_.devices.emplace_back(name);
      }
    }
  }

  simdjson::error_code parse(const JsonSplitter& splitter, od::document& document) {
    const auto text = splitter.value();
    return parser_.iterate(text.data(), text.size(), splitter.value_capacity()).get(document);
  }

  // What an event says of itself, beside its arguments; its name, process and thread are members.
  struct EventFields {
    Category what = Category::kOther;
    std::string_view phase;
    bool named = false;
    bool has_category = false;
    bool has_args = false;
    std::optional<double> ts;   // us
    std::optional<double> dur;  // us

    bool on_gpu() const {
      return what == Category::kKernel || what == Category::kCopy || what == Category::kFill;
    }
    bool is_usable() const {
      return named && ts && dur && std::isfinite(*ts) && *dur >= 0 && std::isfinite(*dur) &&
             std::abs(*ts) < 9e15;
    }
  };

  // Nothing of an event that is not asked for, or is malformed, which is counted.
  std::optional<EventFields> fields_of(od::object& object) {
    EventFields event;
    pid_ = tid_ = 0;
    for (auto field : object) {
      od::raw_json_string raw;
      od::value value;
      if (field.key().get(raw) || field.value().get(value)) {
        ++malformed_;
        return {};
      }
      if (raw == "ph") {
        if (value.get_string().get(event.phase)) event.phase = {};
        if (event.phase != "X" && event.phase != "M") return {};
      } else if (raw == "cat") {
        event.has_category = true;
        std::string_view text;
        if (value.get_string().get(text)) text = {};
        event.what = category(text);
        if (event.what == Category::kOther) return {};
      } else if (raw == "name") {
        event.named = !value.get_string().get(name_) && !name_.empty();
      } else if (raw == "ts") {
        event.ts = number(value);
      } else if (raw == "dur") {
        event.dur = number(value);
      } else if (raw == "pid") {
        pid_ = integer_or(value, 0);
      } else if (raw == "tid") {
        tid_ = integer_or(value, 0);
      } else if (raw == "args") {
        event.has_args = true;
      }
    }
    return event;
  }

  void event(const JsonSplitter& splitter) {
    od::document document;
    od::object object;
    if (parse(splitter, document) || document.get_object().get(object)) {
      ++malformed_;
      return;
    }
    auto event = fields_of(object);
    if (!event) return;
    if (event->phase == "M") {
      if (event->named && name_ == "process_name") process_named(document);
      return;
    }
    if (event->named && !event->has_category && gpus_.contains(pid_)) {
      event->what = category_by_name();
    }
    if (event->phase != "X" || event->what == Category::kOther) return;
    if (!event->is_usable()) {
      if (event->on_gpu()) ++timeline_.bad_events;
      return;
    }
    if (!origin_) {
      origin_ = std::floor(*event->ts);
      timeline_.origin_ns = static_cast<std::int64_t>(*origin_) * 1000;
    }
    start_ns_ = (*event->ts - *origin_) * 1000;
    duration_ns_ = *event->dur * 1000;
    od::object args;
    document.rewind();
    const bool args_found = event->has_args && !document["args"].get_object().get(args);
    if (event->on_gpu()) {
      gpu_event(event->what, args_found ? &args : nullptr);
    } else {
      host_event(event->what, args_found ? &args : nullptr);
    }
  }

  // {"ph": "M", "name": "process_name", "pid": "0", "args": {"name": "GPU0"}}
  void process_named(od::document& document) {
    document.rewind();
    std::string_view name;
    if (document["args"]["name"].get_string().get(name) || !name.starts_with("GPU")) return;
    if (parse_int(name.substr(3))) gpus_.insert(pid_);
  }

  // Of an event without a category on a GPU.
  Category category_by_name() const {
    return name_.starts_with("Copy")   ? Category::kCopy
           : name_.starts_with("Fill") ? Category::kFill
                                       : Category::kKernel;
  }

  void gpu_event(Category what, od::object* args) {
    Launch launch{.start_ns = start_ns_,
                  .duration_ns = duration_ns_,
                  .stream = tid_,
                  .name = timeline_.names.intern(name_),
                  .device = static_cast<std::int32_t>(pid_)};
    std::int64_t correlation = 0;
    std::int64_t external = 0;
    if (args != nullptr) {
      for (auto field : *args) {
        od::raw_json_string raw;
        od::value value;
        if (field.key().get(raw) || field.value().get(value)) break;
        if (raw == "device") {
          launch.device = static_cast<std::int32_t>(integer_or(value, launch.device));
        } else if (raw == "stream") {
          launch.stream = integer_or(value, launch.stream);
        } else if (raw == "correlation") {
          correlation = integer_or(value, 0);
        } else if (raw == "External id" || raw == "external id") {
          external = integer_or(value, 0);
        } else if (raw == "graph node id") {
          launch.graph_node = integer_or(value, 0);
        } else if (od::json_type type{}; value.type().get(type)) {
          ++not_json_;  // NaN, Infinity
        }
      }
    }
    auto& list = what == Category::kKernel ? timeline_.launches
                 : what == Category::kCopy ? timeline_.copies
                                           : timeline_.fills;
    list.push_back(launch);
    if (what == Category::kKernel) links_.push_back({correlation, external});
  }

  void host_event(Category what, od::object* args) {
    if (what == Category::kAnnotation) {
      timeline_.ranges.push_back({.name = timeline_.names.intern(name_),
                                  .start_ns = start_ns_,
                                  .end_ns = start_ns_ + duration_ns_,
                                  .thread = (pid_ << 32) ^ tid_});
      return;
    }
    HostCall call{
        .start_ns = start_ns_, .end_ns = start_ns_ + duration_ns_, .thread = (pid_ << 32) ^ tid_};
    label_.assign(name_);
    std::string_view inputs[3];  // types, sizes, values
    if (args != nullptr) {
      for (auto field : *args) {
        od::raw_json_string raw;
        od::value value;
        if (field.key().get(raw) || field.value().get(value)) break;
        if (raw == "correlation" && what == Category::kRuntime) {
          call.id = integer_or(value, 0);
        } else if (what == Category::kOperator) {
          if (raw == "External id" || raw == "external id") {
            call.id = integer_or(value, 0);
          } else {
            const int slot = raw == "Input type"                                 ? 0
                             : raw == "Input Dims"                               ? 1
                             : raw == "Concrete Inputs" || raw == "Input values" ? 2
                                                                                 : -1;
            od::array list;
            if (slot >= 0 && !value.get_array().get(list)) {
              if (list.raw_json().get(inputs[slot])) inputs[slot] = {};
            }
          }
        }
      }
    }
    if (what == Category::kRuntime) {
      calls_.add(call);
      return;
    }
    constexpr std::size_t kLongestLabel = 400;
    for (const auto& input : inputs) {
      label_ += ' ';
      append_words(label_, input, kLongestLabel);
    }
    call.name = timeline_.names.intern(label_);
    operators_.add(call);
  }

  Result<Timeline> finish() {
    if (not_an_array_) return fail(Errc::kParse, "\"traceEvents\" is not a list of events");
    if (*timeline_.source.events == 0) {
      return fail(Errc::kParse, "no traceEvents: this JSON is not a Chrome trace");
    }
    if (malformed_ > 0) {
      timeline_.warnings.push_back(
          fmt::format("{} of {} events are not valid JSON objects and were left out", malformed_,
                      *timeline_.source.events));
    }
    if (not_json_ > 0) {
      timeline_.warnings.push_back(fmt::format(
          "{} values of GPU events are not JSON (NaN or Infinity); they were not needed",
          not_json_));
    }
    if (open_ended_) {
      timeline_.warnings.emplace_back(
          "the list of events is not closed; if the recording was cut, its totals are too");
    }
    if (timeline_.bad_events > 0) {
      timeline_.warnings.push_back(
          fmt::format("{} GPU events without a usable name, time or duration were left out",
                      timeline_.bad_events));
    }
    calls_.index();
    operators_.index();
    for (std::size_t i = 0; i < timeline_.launches.size(); ++i) {
      auto& launch = timeline_.launches[i];
      if (const auto* call = calls_.by_id(links_[i].correlation)) {
        launch.launched_ns = call->end_ns;
      }
      if (const auto* op = operators_.outermost_of(links_[i].external)) launch.op = op->name;
    }
    return std::move(timeline_);
  }

  struct Link {
    std::int64_t correlation;
    std::int64_t external;
  };

  od::parser parser_;
  Timeline timeline_;
  std::vector<Link> links_;  // of each launch
  HostCalls calls_;
  HostCalls operators_;
  std::set<std::int64_t> gpus_;  // processes that are named after one
  std::optional<double> origin_;
  std::int64_t malformed_ = 0;
  std::int64_t not_json_ = 0;
  bool not_an_array_ = false;
  bool open_ended_ = false;

  // Of the event at hand.
  std::string_view name_;
  std::string label_;
  double start_ns_ = 0;
  double duration_ns_ = 0;
  std::int64_t pid_ = 0;
  std::int64_t tid_ = 0;
};

}  // namespace

Result<Timeline> read_chrome_trace(ByteReader bytes) {
  DSAPERF_TRY_ASSIGN(auto splitter, JsonSplitter::over(std::move(bytes), "traceEvents"));
  return ChromeImporter().read(std::move(splitter));
}

}  // namespace dsaperf::trace
