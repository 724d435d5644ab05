#include "dsaperf/collect/journal.hpp"

#include "dsaperf/collect/json.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace dsaperf::collect {
namespace {

using nlohmann::json;

constexpr std::string_view kFormat = "dsaperf.collect.journal.1";
// A line is below 8 KB; a million of them is far beyond any plan.
constexpr Bytes kLargestJournal{std::int64_t{8} << 30};

Result<void> same_subject(const JournalHeader& found, const JournalHeader& wanted) {
  const auto differ = [](std::string_view what, std::string_view there, std::string_view here) {
    return fail(Errc::kInvalidArgument,
                "the journal is of {} '{}', this run of '{}': choose another folder", what, there,
                here);
  };
  if (found.model != wanted.model) return differ("model", found.model, wanted.model);
  if (found.source.device != wanted.source.device) {
    return differ("device", found.source.device, wanted.source.device);
  }
  if (found.source.version != wanted.source.version) {
    return differ("version", found.source.version, wanted.source.version);
  }
  if (found.source.method != wanted.source.method) {
    return differ("timing method", found.source.method, wanted.source.method);
  }
  if (found.shard.index != wanted.shard.index || found.shard.count != wanted.shard.count) {
    return differ("shard", fmt::format("{}/{}", found.shard.index, found.shard.count),
                  fmt::format("{}/{}", wanted.shard.index, wanted.shard.count));
  }
  return {};
}

}  // namespace

std::string journal_file_name(const Shard& shard) {
  if (shard.count == 1) return "rows.jsonl";
  return fmt::format("rows-{:04}-of-{:04}.jsonl", shard.index, shard.count);
}

Result<JournalContent> parse_journal(std::string_view text) {
  JournalContent content;
  std::size_t line_number = 0;
  while (!text.empty()) {
    const auto end = text.find('\n');
    if (end == std::string_view::npos) {
      content.cut = true;
      break;
    }
    ++line_number;
    const auto line = json::parse(text.substr(0, end), nullptr, /*allow_exceptions=*/false);
    if (line.is_discarded()) return fail(Errc::kParse, "line {}: not JSON", line_number);
    const auto in_line = [&](Error error) {
      return std::move(error).with_context(fmt::format("line {}", line_number));
    };
    if (line_number == 1) {
      DSAPERF_TRY_ASSIGN(content.header, header_from_json(line, kFormat).map_error(in_line));
    } else {
      DSAPERF_TRY_ASSIGN(auto entry, entry_from_json(line).map_error(in_line));
      auto id = entry.what.id();
      content.entries.insert_or_assign(std::move(id), std::move(entry));
    }
    text.remove_prefix(end + 1);
    content.whole_bytes += static_cast<std::int64_t>(end + 1);
  }
  return content;
}

Result<JournalContent> read_journal(const std::filesystem::path& path) {
  DSAPERF_TRY_ASSIGN(const auto text, read_file(path, kLargestJournal));
  return parse_journal(text).map_error(
      [&](Error error) { return std::move(error).with_context(path.native()); });
}

Result<Journal> Journal::open(const std::filesystem::path& directory, const JournalHeader& header,
                              bool resume) {
  std::error_code created;
  std::filesystem::create_directories(directory, created);
  if (created) {
    return fail(Errc::kIo, "{}: the folder cannot be made: {}", directory.native(),
                created.message());
  }
  const auto path = directory / journal_file_name(header.shard);
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0) return fail(Errc::kIo, "{}: {}", path.native(), std::strerror(errno));
  Journal journal(path, descriptor);
  if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    return fail(Errc::kIo, "{}: another collector is writing it", path.native());
  }

  struct stat status{};
  if (::fstat(descriptor, &status) != 0) {
    return fail(Errc::kIo, "{}: {}", path.native(), std::strerror(errno));
  }
  if (status.st_size > 0) {
    DSAPERF_TRY_ASSIGN(auto content, read_journal(path));
    if (content.whole_bytes > 0) {
      const auto in_file = [&](Error error) {
        return std::move(error).with_context(path.native());
      };
      if (!resume) {
        return fail(Errc::kInvalidArgument,
                    "{}: holds {} results already; collect --resume goes on with them, or choose "
                    "another folder",
                    path.native(), content.entries.size());
      }
      DSAPERF_TRY(same_subject(content.header, header).map_error(in_file));
    }
    // What a crash cut off goes before anything is written behind it.
    if (::ftruncate(descriptor, content.whole_bytes) != 0) {
      return fail(Errc::kIo, "{}: {}", path.native(), std::strerror(errno));
    }
    journal.size_ = content.whole_bytes;
    journal.entries_ = std::move(content.entries);
  }
  if (journal.size_ == 0) DSAPERF_TRY(journal.write(json_line(header_to_json(header, kFormat))));
  return journal;
}

Journal::Journal(Journal&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      size_(other.size_),
      entries_(std::move(other.entries_)) {
}

Journal& Journal::operator=(Journal&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(size_, other.size_);
  std::swap(entries_, other.entries_);
  return *this;
}

Journal::~Journal() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<void> Journal::append(std::span<const Entry> entries) {
  std::string text;
  for (const auto& entry : entries) text += json_line(entry_to_json(entry));
  DSAPERF_TRY(write(text));
  for (const auto& entry : entries) entries_.insert_or_assign(entry.what.id(), entry);
  return {};
}

Result<void> Journal::write(const std::string& text) {
  std::size_t written = 0;
  while (written < text.size()) {
    const auto count = ::pwrite(descriptor_, text.data() + written, text.size() - written,
                                size_ + static_cast<std::int64_t>(written));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) break;
    written += static_cast<std::size_t>(count);
  }
  if (written < text.size() || ::fdatasync(descriptor_) != 0) {
    const std::string reason = std::strerror(errno);
    // A part of a line would be taken for a crash's; without it the journal ends with a whole row.
    const bool restored = ::ftruncate(descriptor_, size_) == 0;
    return fail(Errc::kIo, "{}: {}; {}", path_.native(), reason,
                restored ? "all earlier results are kept, go on with --resume"
                         : "the last line may be cut; --resume drops it");
  }
  size_ += static_cast<std::int64_t>(text.size());
  return {};
}

}  // namespace dsaperf::collect
