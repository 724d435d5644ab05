#pragma once

#include "dsaperf/profile/activity.hpp"

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <unordered_map>

namespace dsaperf::profile {

// Appends activities of one process to a file, so that a process that is killed leaves what it had
// done. Used inside foreign processes: needs nothing but the C and C++ standard libraries, says
// nothing and throws nothing away but what cannot be written. Not thread-safe.
//
// Text, one record a line, fields separated by spaces; a name is written once and then meant by its
// number:
//
//   dsaperf.activity.1
//   p 4711 python serve.py                 process and its command
//   g 0 5f3a... NVIDIA H200                device number, its UUID, its name
//   n 0 _ZN4fastEv                         name 0
//   k 100 111 0 7 42 0 0                   kernel: start end device stream correlation node name
//   c 120 121 0 7 43 0                     copy: start end device stream correlation node
//   s 130 131 0 7 44 0                     fill
//   a 90 95 1234 42                        call: start end thread correlation
//   b 80 5 1234 0                          range begins: time, number, thread, name
//   e 150 5 1234                           range ends
//   o 10 20                                overhead of profiling
//   d 7                                    activities lost, in all
//   z 200                                  the process ended by itself
//
// Backslash and newline in names are escaped. Readers ignore lines whose letter they do not know.
class ActivityLogWriter {
 public:
  static constexpr std::string_view kFormat = "dsaperf.activity.1";

  explicit ActivityLogWriter(std::FILE* file) : file_(file) {}

  void begin(std::int64_t process, std::string_view command);
  void device(std::uint32_t number, std::string_view uuid, std::string_view name);
  void write(const Activity& activity);
  void dropped(std::uint64_t count);
  void end(std::uint64_t time_ns);

 private:
  std::uint32_t name_id(std::string_view name);
  void escaped(std::string_view text);

  std::FILE* file_;
  std::unordered_map<std::string, std::uint32_t> names_;
};

// Where the log of a process that begins now goes: FOLDER/PROCESS.activity, or with a number more
// where that is taken. A number of a process comes again when it runs another program (exec), and
// in containers side by side. Null where none can be made.
std::FILE* create_activity_log(const std::string& folder, std::int64_t process);

}  // namespace dsaperf::profile
