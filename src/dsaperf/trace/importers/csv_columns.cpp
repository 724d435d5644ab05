#include "dsaperf/trace/importers/csv_columns.hpp"

#include "dsaperf/core/csv.hpp"

#include <algorithm>
#include <cctype>
#include <span>

namespace dsaperf::trace {
namespace {

struct Spelling {
  std::string_view text;  // lower case, letters and digits only, without unit
  Role role;
};

// Where two columns of one table claim a role, the earlier line here wins.
constexpr Spelling kSpellings[] = {
    {"kernelname", Role::kName},
    {"demangledname", Role::kName},
    {"name", Role::kName},
    {"kernel", Role::kName},
    {"opname", Role::kName},
    {"optype", Role::kName},
    {"operation", Role::kName},
    {"instances", Role::kCalls},
    {"kerninst", Role::kCalls},
    {"calls", Role::kCalls},
    {"count", Role::kCalls},
    {"totaltime", Role::kTotal},
    {"totalduration", Role::kTotal},
    {"total", Role::kTotal},
    {"time", Role::kTotal},
    {"kavg", Role::kAverage},
    {"avg", Role::kAverage},
    {"average", Role::kAverage},
    {"avgtime", Role::kAverage},
    {"kmed", Role::kMedian},
    {"med", Role::kMedian},
    {"median", Role::kMedian},
    {"kmin", Role::kMin},
    {"min", Role::kMin},
    {"minimum", Role::kMin},
    {"mintime", Role::kMin},
    {"kmax", Role::kMax},
    {"max", Role::kMax},
    {"maximum", Role::kMax},
    {"maxtime", Role::kMax},
    {"kstddev", Role::kStddev},
    {"stddev", Role::kStddev},
    {"kernelstart", Role::kStart},
    {"start", Role::kStart},
    {"starttimestamp", Role::kStart},
    {"starttime", Role::kStart},
    {"taskstarttime", Role::kStart},
    {"begin", Role::kStart},
    {"end", Role::kEnd},
    {"endtimestamp", Role::kEnd},
    {"endtime", Role::kEnd},
    {"kerneldur", Role::kDuration},
    {"duration", Role::kDuration},
    {"taskduration", Role::kDuration},
    {"gputimeduration", Role::kDuration},
    {"gputimedurationsum", Role::kDuration},
    {"gputimedurationavg", Role::kDuration},
    {"latency", Role::kDuration},
    {"device", Role::kDevice},
    {"deviceid", Role::kDevice},
    {"devid", Role::kDevice},
    {"gpuid", Role::kDevice},
    {"agentid", Role::kDevice},
    {"strm", Role::kStream},
    {"stream", Role::kStream},
    {"streamid", Role::kStream},
    {"queueid", Role::kStream},
    {"category", Role::kCategory},
    {"type", Role::kCategory},
    {"metricname", Role::kMetricName},
    {"metricunit", Role::kMetricUnit},
    {"metricvalue", Role::kMetricValue},
    {"id", Role::kId},
    {"processid", Role::kProcess},
    {"gridsize", Role::kGrid},
    {"blocksize", Role::kBlock},
    {"cc", Role::kCapability},
};

std::string letters(std::string_view text) {
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte)) result += static_cast<char>(std::tolower(byte));
  }
  return result;
}

struct Heading {
  std::string text;  // as in kSpellings
  std::string unit;  // "" where none is named
};

// "Total Time (ns)", "Time(%)", "Avg [us]", "duration_us", "TotalDurationNs",
// "gpu__time_duration.sum".
Heading heading(std::string_view column) {
  if (const auto open = column.find_first_of("(["); open != std::string_view::npos) {
    const auto close = column.find_first_of(")]", open);
    return {
        letters(column.substr(0, open)),
        std::string(column.substr(open + 1, close == std::string_view::npos ? std::string_view::npos
                                                                            : close - open - 1))};
  }
  for (const std::string_view unit : {"ns", "us", "ms"}) {
    if (column.size() <= unit.size() + 1) continue;
    const auto stem = column.substr(0, column.size() - unit.size());
    const auto tail = column.substr(stem.size());
    const bool snake = stem.back() == '_' && tail == unit;
    const bool camel = std::islower(static_cast<unsigned char>(stem.back())) != 0 &&
                       tail[0] == static_cast<char>(unit[0] - 'a' + 'A') && tail[1] == unit[1];
    if (snake || camel) return {letters(stem), std::string(unit)};
  }
  return {letters(column), ""};
}

bool is_time(Role role) {
  return role >= Role::kTotal && role <= Role::kDuration;
}

}  // namespace

std::optional<double> nanoseconds_per(std::string_view unit) {
  const auto holds = [&](std::string_view sign) { return unit.find(sign) != unit.npos; };
  const bool micro = holds("\xC2\xB5") || holds("\xCE\xBC");  // U+00B5, U+03BC
  const std::string text = (micro ? "u" : "") + letters(unit);
  struct Unit {
    std::string_view stem;
    double ns;
  };
  // nsys: nsec, usec, msec, sec; ncu: nsecond, usecond, ns, us.
  for (const Unit known : {Unit{"n", 1}, Unit{"u", 1e3}, Unit{"m", 1e6}, Unit{"", 1e9}}) {
    if (!text.starts_with(known.stem)) continue;
    const auto rest = std::string_view(text).substr(known.stem.size());
    for (const std::string_view second : {"s", "sec", "secs", "second", "seconds"}) {
      if (rest == second) return known.ns;
    }
  }
  if (text == "nanoseconds" || text == "nanosecond") return 1;
  if (text == "microseconds" || text == "microsecond") return 1e3;
  if (text == "milliseconds" || text == "millisecond") return 1e6;
  return std::nullopt;
}

std::optional<double> parse_grouped(std::string_view text) {
  if (text.find(',') == std::string_view::npos) return parse_double(text);
  std::string plain;
  std::copy_if(text.begin(), text.end(), std::back_inserter(plain),
               [](char c) { return c != ','; });
  return parse_double(plain);
}

Columns columns_of(const std::vector<std::string_view>& header) {
  Columns columns;
  columns.to_ns.fill(1);
  std::array<std::size_t, kRoles> rank{};
  rank.fill(std::size(kSpellings));
  for (std::size_t i = 0; i < header.size(); ++i) {
    columns.header.emplace_back(header[i]);
    const auto [text, unit] = heading(header[i]);
    const auto* spelling = std::find_if(std::begin(kSpellings), std::end(kSpellings),
                                        [&](const Spelling& known) { return known.text == text; });
    if (spelling == std::end(kSpellings)) continue;
    const auto role = static_cast<std::size_t>(spelling->role);
    const auto order = static_cast<std::size_t>(spelling - std::begin(kSpellings));
    double factor = 1;
    if (is_time(spelling->role) && !unit.empty()) {
      const auto per = nanoseconds_per(unit);
      if (!per) continue;  // "Time (%)" is not a time
      factor = *per;
    }
    // "Time(%)" with no other sign of a unit; and the first of two equal columns stays.
    if (order >= rank[role]) continue;
    rank[role] = order;
    columns.at[role] = i;
    columns.to_ns[role] = factor;
    columns.unit_known[role] = !unit.empty();
  }
  return columns;
}

TableKind kind_of(const Columns& columns) {
  if (!columns.has(Role::kName)) return TableKind::kNone;
  const auto& name = columns.header[*columns[Role::kName]];
  if (columns.has(Role::kMetricName) && columns.has(Role::kMetricValue)) {
    return TableKind::kNcuDetails;
  }
  if (columns.has(Role::kStart) && (columns.has(Role::kDuration) || columns.has(Role::kEnd))) {
    return TableKind::kTimeline;
  }
  // "Operation" names kernels only beside a category that tells them from copies.
  if (letters(name) == "operation" && !columns.has(Role::kCategory)) return TableKind::kNone;
  if (columns.has(Role::kCalls) && (columns.has(Role::kTotal) || columns.has(Role::kAverage))) {
    return TableKind::kSummary;
  }
  if (columns.has(Role::kDuration)) {
    const auto& duration = columns.header[*columns[Role::kDuration]];
    return duration.find("__") != std::string::npos ? TableKind::kNcuRaw : TableKind::kLaunches;
  }
  return TableKind::kNone;
}

}  // namespace dsaperf::trace
