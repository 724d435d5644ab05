#include "dsaperf/profile/recording.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/host_ranges.hpp"
#include "dsaperf/profile/activity_log.hpp"
#include "dsaperf/trace/importers/host_calls.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <span>

namespace dsaperf::profile {
namespace {

std::string unescaped(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      plain += text[++i] == 'n' ? '\n' : text[i];
    } else {
      plain += text[i];
    }
  }
  return plain;
}

class LogReader {
 public:
  Result<ProcessRecording> read(ByteReader bytes) {
    std::vector<char> chunk(std::size_t{1} << 18);
    std::string rest;
    while (true) {
      DSAPERF_TRY_ASSIGN(const std::size_t got, bytes.read(chunk));
      if (got == 0) break;
      rest.append(chunk.data(), got);
      std::size_t begin = 0;
      for (std::size_t end = rest.find('\n'); end != std::string::npos;
           end = rest.find('\n', begin)) {
        ++line_;
        if (!take(std::string_view(rest).substr(begin, end - begin))) {
          return fail(Errc::kParse, "line {} is not as {} has it", line_,
                      ActivityLogWriter::kFormat);
        }
        begin = end + 1;
      }
      rest.erase(0, begin);
    }
    if (line_ == 0) return fail(Errc::kParse, "empty activity log");
    link();
    return std::move(recording_);
  }

 private:
  // The unsigned numbers that a line begins with, one for each of `into`; leaves the rest.
  static bool numbers(std::string_view& text, std::span<std::uint64_t> into) {
    for (auto& number : into) {
      if (!text.starts_with(' ')) return false;
      text.remove_prefix(1);
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
      if (error != std::errc()) return false;
      text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    }
    return true;
  }

  bool take(std::string_view text) {
    if (line_ == 1) return text == ActivityLogWriter::kFormat;
    if (text.size() < 2) return false;
    const char letter = text[0];
    text.remove_prefix(1);
    std::uint64_t n[7] = {};
    switch (letter) {
      case 'p':
        if (!numbers(text, std::span(n, 1)) || text.empty()) return false;
        recording_.process = static_cast<std::int64_t>(n[0]);
        recording_.command = unescaped(text.substr(1));
        return true;
      case 'g':
        return device(text);
      case 'n':
        if (!numbers(text, std::span(n, 1)) || text.empty() || n[0] != names_.size()) return false;
        names_.push_back(recording_.timeline.names.intern(unescaped(text.substr(1))));
        return true;
      case 'k':
        return numbers(text, n) && launch(recording_.timeline.launches, n, n[6]);
      case 'c':
      case 's': {
        auto& list = letter == 'c' ? recording_.timeline.copies : recording_.timeline.fills;
        if (!numbers(text, std::span(n, 6))) return false;
        return add(list, n,
                   recording_.timeline.names.intern(letter == 'c' ? "[memcpy]" : "[memset]"));
      }
      case 'a':
        if (!numbers(text, std::span(n, 4))) return false;
        calls_.add({.start_ns = time(n[0]),
                    .end_ns = time(n[1]),
                    .thread = static_cast<std::int64_t>(n[2]),
                    .id = static_cast<std::int64_t>(n[3])});
        return true;
      case 'b':
        if (!numbers(text, std::span(n, 4)) || n[3] >= names_.size()) return false;
        open_[n[1]] = {time(n[0]), static_cast<std::int64_t>(n[2]),
                       names_[static_cast<std::size_t>(n[3])]};
        return true;
      case 'e':
        return numbers(text, std::span(n, 3)) && close(n[1], time(n[0]));
      case 'o':
        if (!numbers(text, std::span(n, 2)) || n[1] < n[0]) return false;
        recording_.overhead_ns += static_cast<double>(n[1] - n[0]);
        return true;
      case 'd':
        if (!numbers(text, std::span(n, 1))) return false;
        recording_.dropped = n[0];
        return true;
      case 'z':
        recording_.ended = true;
        return true;
      default:
        return true;
    }
  }

  bool device(std::string_view text) {
    std::uint64_t number = 0;
    if (!numbers(text, std::span(&number, 1)) || !text.starts_with(' ') || number > 1024) {
      return false;
    }
    text.remove_prefix(1);
    const auto space = text.find(' ');
    if (space == std::string_view::npos) return false;
    auto& devices = recording_.devices;
    if (devices.size() <= number) devices.resize(static_cast<std::size_t>(number) + 1);
    devices[static_cast<std::size_t>(number)] = {std::string(text.substr(0, space)),
                                                 unescaped(text.substr(space + 1))};
    return true;
  }

  // Relative to the first time of the log, so that a double holds whole nanoseconds.
  double time(std::uint64_t ns) {
    if (!first_ns_) first_ns_ = ns;
    return static_cast<double>(static_cast<std::int64_t>(ns - *first_ns_));
  }

  bool launch(std::vector<trace::Launch>& list, const std::uint64_t* n, std::uint64_t name) {
    return name < names_.size() && add(list, n, names_[static_cast<std::size_t>(name)]);
  }

  bool add(std::vector<trace::Launch>& list, const std::uint64_t* n, std::uint32_t name) {
    if (n[2] > 1024) return false;
    if (n[1] < n[0] || n[0] == 0) {  // CUPTI could not time it
      ++recording_.timeline.bad_events;
      return true;
    }
    trace::Launch launch;
    launch.start_ns = time(n[0]);
    launch.duration_ns = static_cast<double>(n[1] - n[0]);
    launch.device = static_cast<std::int32_t>(n[2]);
    launch.stream = static_cast<std::int64_t>(n[3]);
    launch.process = recording_.process;
    launch.graph_node = static_cast<std::int64_t>(n[5]);
    launch.name = name;
    list.push_back(launch);
    correlations_[&list == &recording_.timeline.launches ? 0
                  : &list == &recording_.timeline.copies ? 1
                                                         : 2]
        .push_back(static_cast<std::int64_t>(n[4]));
    return true;
  }

  bool close(std::uint64_t id, double end_ns) {
    const auto found = open_.find(id);
    if (found == open_.end()) return true;  // began before the recording
    const auto& start = found->second;
    recording_.timeline.ranges.push_back({.name = start.name,
                                          .start_ns = start.start_ns,
                                          .end_ns = std::max(end_ns, start.start_ns),
                                          .thread = start.thread});
    open_.erase(found);
    return true;
  }

  void link() {
    recording_.timeline.origin_ns = static_cast<std::int64_t>(first_ns_.value_or(0));
    trace::HostCalls ranges;
    for (const auto& range : recording_.timeline.ranges) {
      ranges.add({range.start_ns, range.end_ns, range.thread, 0, range.name});
    }
    ranges.index();
    calls_.index();
    std::vector<trace::Launch>* lists[] = {&recording_.timeline.launches,
                                           &recording_.timeline.copies, &recording_.timeline.fills};
    for (std::size_t kind = 0; kind < 3; ++kind) {
      for (std::size_t i = 0; i < lists[kind]->size(); ++i) {
        const auto* call = calls_.by_id(correlations_[kind][i]);
        if (call == nullptr) continue;
        auto& launch = (*lists[kind])[i];
        launch.launched_ns = call->end_ns;
        if (const auto* range = ranges.innermost_at(call->thread, call->start_ns)) {
          launch.range = range->name;
        }
      }
    }
  }

  struct Open {
    double start_ns;
    std::int64_t thread;
    std::uint32_t name;
  };

  ProcessRecording recording_;
  std::size_t line_ = 0;
  std::optional<std::uint64_t> first_ns_;
  std::vector<std::uint32_t> names_;  // by number in the log
  std::map<std::uint64_t, Open> open_;
  trace::HostCalls calls_;
  std::vector<std::int64_t> correlations_[3];
};

}  // namespace

Result<ProcessRecording> read_activity_log(ByteReader bytes) {
  return LogReader().read(std::move(bytes));
}

Result<ProcessRecording> read_activity_log(const std::filesystem::path& path) {
  DSAPERF_TRY_ASSIGN(auto bytes, ByteReader::open(path));
  return read_activity_log(std::move(bytes)).map_error([&](Error error) {
    return std::move(error).with_context(path.native());
  });
}

trace::Timeline merged(std::vector<ProcessRecording> recordings) {
  trace::Timeline all;
  all.format = trace::Format::kOwn;
  all.origin_ns = std::numeric_limits<std::int64_t>::max();
  for (const auto& recording : recordings) {
    const bool empty = recording.timeline.launches.empty() && recording.timeline.ranges.empty();
    if (!empty) all.origin_ns = std::min(all.origin_ns, recording.timeline.origin_ns);
  }
  if (all.origin_ns == std::numeric_limits<std::int64_t>::max()) all.origin_ns = 0;
  std::map<std::string, std::int32_t> device_of_uuid;
  for (auto& recording : recordings) {
    const auto& from = recording.timeline;
    const double shift = static_cast<double>(from.origin_ns - all.origin_ns);
    const auto name = [&](std::uint32_t id) {
      return id == trace::kNoName ? id : all.names.intern(from.names[id]);
    };
    const auto device = [&](std::int32_t number) {
      const auto at = static_cast<std::size_t>(number);
      if (at >= recording.devices.size() || recording.devices[at].first.empty()) return number;
      const auto [found, is_new] = device_of_uuid.emplace(
          recording.devices[at].first, static_cast<std::int32_t>(device_of_uuid.size()));
      if (is_new) all.devices.push_back(recording.devices[at].second);
      return found->second;
    };
    const auto move = [&](const std::vector<trace::Launch>& list, std::vector<trace::Launch>& to) {
      for (auto launch : list) {
        launch.start_ns += shift;
        launch.launched_ns += shift;
        launch.name = name(launch.name);
        launch.range = name(launch.range);
        launch.device = device(launch.device);
        to.push_back(launch);
      }
    };
    move(from.launches, all.launches);
    move(from.copies, all.copies);
    move(from.fills, all.fills);
    for (auto range : from.ranges) {
      range.start_ns += shift;
      range.end_ns += shift;
      range.name = name(range.name);
      range.thread ^= recording.process << 32;
      all.ranges.push_back(range);
    }
    all.bad_events += from.bad_events;
    if (recording.dropped > 0) {
      all.warnings.push_back(fmt::format("process {} lost {} activities: its buffers were full",
                                         recording.process, recording.dropped));
    }
    if (!recording.ended) {
      all.warnings.push_back(fmt::format(
          "process {} ({}) was killed or left without its exit handlers: its last second may be "
          "missing",
          recording.process, recording.command));
    }
  }
  all.sort();
  return all;
}

void keep_timed_passes(trace::Timeline& timeline) {
  if (trace::trim_to_range(timeline, kTimedRange)) return;
  timeline.warnings.emplace_back(
      "no pass was timed warm: set-up, warm-up and cold passes are in this trace");
}

}  // namespace dsaperf::profile
