#include "dsaperf/trace/stage_times.hpp"

#include <algorithm>
#include <array>
#include <map>

namespace dsaperf::trace {
namespace {

class Rows {
 public:
  void add(std::string_view name, std::int64_t calls, double time_ns) {
    auto& row = rows_[std::string(name)];
    row.calls += calls;
    row.time_ns += time_ns;
  }

  std::vector<StageTime> sorted(double total_ns) && {
    std::vector<StageTime> list;
    for (auto& [name, row] : rows_) {
      row.name = name;
      row.share = total_ns > 0 ? row.time_ns / total_ns : 0;
      list.push_back(std::move(row));
    }
    std::stable_sort(list.begin(), list.end(),
                     [](const StageTime& a, const StageTime& b) { return a.time_ns > b.time_ns; });
    return list;
  }

 private:
  std::map<std::string, StageTime> rows_;
};

// Calls use(item, name id, calls, time) for each launch or sum.
template <typename Use>
void each(const Timeline& timeline, const Classified& classified, Use use) {
  for (std::size_t i = 0; i < timeline.launches.size(); ++i) {
    const auto& launch = timeline.launches[i];
    use(classified.launches[i], launch.name, 1, launch.duration_ns);
  }
  for (std::size_t i = 0; i < timeline.sums.size(); ++i) {
    const auto& sum = timeline.sums[i];
    use(classified.sums[i], sum.name, sum.calls, sum.total_ns);
  }
}

}  // namespace

StageTable stage_table(const Timeline& timeline, const Classified& classified) {
  Rows parts;
  Rows groups;
  Rows marked;
  double total_ns = 0;
  double unclassified_ns = 0;
  each(timeline, classified,
       [&](const Classified::Item& item, std::uint32_t, std::int64_t calls, double time_ns) {
         total_ns += time_ns;
         parts.add(name(item.part), calls, time_ns);
         groups.add(group(item.part), calls, time_ns);
         if (item.marked) marked.add(model::name(*item.marked), calls, time_ns);
         if (item.part == Part::kUnclassified) unclassified_ns += time_ns;
       });
  return {.parts = std::move(parts).sorted(total_ns),
          .groups = std::move(groups).sorted(total_ns),
          .marked = std::move(marked).sorted(total_ns),
          .unclassified_share = total_ns > 0 ? unclassified_ns / total_ns : 0};
}

std::vector<Part> main_part_of_names(const Timeline& timeline, const Classified& classified) {
  std::map<std::uint32_t, std::array<double, kPartCount>> times;
  each(timeline, classified,
       [&](const Classified::Item& item, std::uint32_t id, std::int64_t, double time_ns) {
         // A kernel that takes no time still has a part.
         times[id][static_cast<std::size_t>(item.part)] += time_ns + 1e-9;
       });
  std::vector<Part> result(timeline.names.size(), Part::kUnclassified);
  for (const auto& [id, of_part] : times) {
    result[id] =
        static_cast<Part>(std::max_element(of_part.begin(), of_part.end()) - of_part.begin());
  }
  return result;
}

}  // namespace dsaperf::trace
