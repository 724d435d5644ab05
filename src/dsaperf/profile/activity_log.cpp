#include "dsaperf/profile/activity_log.hpp"

#include <cerrno>
#include <cinttypes>

namespace dsaperf::profile {

void ActivityLogWriter::escaped(std::string_view text) {
  for (const char c : text) {
    if (c == '\\' || c == '\n') {
      std::fputc('\\', file_);
      std::fputc(c == '\n' ? 'n' : c, file_);
    } else {
      std::fputc(c, file_);
    }
  }
  std::fputc('\n', file_);
}

void ActivityLogWriter::begin(std::int64_t process, std::string_view command) {
  std::fprintf(file_, "%.*s\np %" PRId64 " ", static_cast<int>(kFormat.size()), kFormat.data(),
               process);
  escaped(command);
}

void ActivityLogWriter::device(std::uint32_t number, std::string_view uuid, std::string_view name) {
  std::fprintf(file_, "g %" PRIu32 " %.*s ", number, static_cast<int>(uuid.size()), uuid.data());
  escaped(name);
}

std::uint32_t ActivityLogWriter::name_id(std::string_view name) {
  const auto [found, is_new] =
      names_.emplace(std::string(name), static_cast<std::uint32_t>(names_.size()));
  if (is_new) {
    std::fprintf(file_, "n %" PRIu32 " ", found->second);
    escaped(name);
  }
  return found->second;
}

void ActivityLogWriter::write(const Activity& a) {
  switch (a.kind) {
    case Activity::Kind::kKernel: {
      const auto name = name_id(a.name);
      std::fprintf(file_,
                   "k %" PRIu64 " %" PRIu64 " %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu64
                   " %" PRIu32 "\n",
                   a.start_ns, a.end_ns, a.device, a.stream, a.correlation, a.graph_node, name);
      return;
    }
    case Activity::Kind::kCopy:
    case Activity::Kind::kFill:
      std::fprintf(file_,
                   "%c %" PRIu64 " %" PRIu64 " %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu64 "\n",
                   a.kind == Activity::Kind::kCopy ? 'c' : 's', a.start_ns, a.end_ns, a.device,
                   a.stream, a.correlation, a.graph_node);
      return;
    case Activity::Kind::kCall:
      std::fprintf(file_, "a %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu32 "\n", a.start_ns,
                   a.end_ns, a.thread, a.correlation);
      return;
    case Activity::Kind::kRangeStart: {
      const auto name = name_id(a.name);
      std::fprintf(file_, "b %" PRIu64 " %" PRIu32 " %" PRIu64 " %" PRIu32 "\n", a.start_ns,
                   a.range, a.thread, name);
      return;
    }
    case Activity::Kind::kRangeEnd:
      std::fprintf(file_, "e %" PRIu64 " %" PRIu32 " %" PRIu64 "\n", a.end_ns, a.range, a.thread);
      return;
    case Activity::Kind::kOverhead:
      std::fprintf(file_, "o %" PRIu64 " %" PRIu64 "\n", a.start_ns, a.end_ns);
      return;
  }
}

void ActivityLogWriter::dropped(std::uint64_t count) {
  std::fprintf(file_, "d %" PRIu64 "\n", count);
}

void ActivityLogWriter::end(std::uint64_t time_ns) {
  std::fprintf(file_, "z %" PRIu64 "\n", time_ns);
}

std::FILE* create_activity_log(const std::string& folder, std::int64_t process) {
  constexpr int kMost = 10000;  // programs that one process becomes
  const std::string stem = folder + "/" + std::to_string(process);
  std::FILE* file = std::fopen((stem + ".activity").c_str(), "wxe");
  for (int i = 2; file == nullptr && errno == EEXIST && i < kMost; ++i) {
    file = std::fopen((stem + "." + std::to_string(i) + ".activity").c_str(), "wxe");
  }
  return file;
}

}  // namespace dsaperf::profile
