#pragma once

#include "dsaperf/collect/case.hpp"
#include "dsaperf/collect/plan.hpp"
#include "dsaperf/collect/timing_source.hpp"
#include "dsaperf/core/error.hpp"

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>

namespace dsaperf::collect {

// What is known of one case: its last good measurement, or its last error.
struct Entry {
  Case what = {};
  Measurement measurement = {};
  std::string error = {};   // not empty: the case failed and has no measurement
  int attempts = 0;         // measurements taken, disturbed ones included
  int disturbed = 0;        // of them thrown away because the card was slowed down
  double repeat_ratio = 0;  // second measurement at the end of the run / first; 0: not repeated
  bool composed = false;    // the measurement is a sum of stages that were measured by themselves
  // What the stages add up to, where the layer was measured whole beside it; 0: not composed.
  Micros composed_warm = {};
  Micros composed_cold = {};
};

// What a journal is about: a journal of another layer, card or method is not continued.
struct JournalHeader {
  std::string model = {};
  std::string architecture = {};
  SourceInfo source = {};
  Shard shard = {};
};

// The memory of a collection: one file a shard, one JSON line a result, on disk (fsync) before the
// next case starts. A line that was cut by a crash is dropped when the journal is opened again and
// its case measured anew; every whole line counts, and of two lines for one case the later one
// does.
//
// One writer a file: a second one is refused by a lock that the kernel drops when its holder ends,
// however it ends.
class Journal {
 public:
  // Fails with kInvalidArgument where a journal exists and `resume` is false, or where it is about
  // something else; with kIo where another process holds it.
  static Result<Journal> open(const std::filesystem::path& directory, const JournalHeader& header,
                              bool resume);

  Journal(Journal&& other) noexcept;
  Journal& operator=(Journal&& other) noexcept;
  ~Journal();

  // Writes and syncs, or leaves the file as it was (a full disk) and says so.
  Result<void> append(const Entry& entry) { return append({&entry, 1}); }
  // All of them with one sync.
  Result<void> append(std::span<const Entry> entries);

  const std::map<std::string, Entry>& entries() const { return entries_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  Journal(std::filesystem::path path, int descriptor)
      : path_(std::move(path)), descriptor_(descriptor) {}

  Result<void> write(const std::string& text);

  std::filesystem::path path_;
  int descriptor_ = -1;
  std::int64_t size_ = 0;
  std::map<std::string, Entry> entries_;  // by case id
};

// "rows.jsonl", or "rows-0002-of-0016.jsonl" for a shard.
std::string journal_file_name(const Shard& shard);

// A journal's content, for readers that do not write it (merge, export).
struct JournalContent {
  JournalHeader header;
  std::map<std::string, Entry> entries;
  bool cut = false;  // the last line was not whole
  std::int64_t whole_bytes = 0;
};
Result<JournalContent> parse_journal(std::string_view text);
Result<JournalContent> read_journal(const std::filesystem::path& path);

}  // namespace dsaperf::collect
