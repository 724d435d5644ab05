#include "dsaperf/trace/importers/nsys_sqlite.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/gzip.hpp"
#include "dsaperf/trace/importers/host_calls.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <memory>
#include <set>

namespace dsaperf::trace {
namespace {

constexpr int kKnownMajor = 3;
constexpr int kFirstKnownMinor = 24;
constexpr int kLastKnownMinor = 27;

struct DatabaseCloser {
  void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
};
using Database = std::unique_ptr<sqlite3, DatabaseCloser>;

struct StatementCloser {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, StatementCloser>;

tl::unexpected<Error> refused(sqlite3* database) {
  const int code = sqlite3_errcode(database);
  const bool damaged = code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
  return fail(damaged ? Errc::kParse : Errc::kIo, "{}", sqlite3_errmsg(database));
}

std::string_view text(sqlite3_stmt* row, int column) {
  const auto* bytes = sqlite3_column_text(row, column);
  if (bytes == nullptr) return {};
  return {reinterpret_cast<const char*>(bytes),
          static_cast<std::size_t>(sqlite3_column_bytes(row, column))};
}

class NsysImporter {
 public:
  explicit NsysImporter(sqlite3* database) : database_(database) {}

  Result<Timeline> read() {
    timeline_.format = Format::kNsysSqlite;
    DSAPERF_TRY(read_tables());
    DSAPERF_TRY(read_meta());
    if (!has("CUPTI_ACTIVITY_KIND_KERNEL")) {
      DSAPERF_TRY(explain_graphs());
      return fail(Errc::kNotFound,
                  "no kernel in this export: it has no table CUPTI_ACTIVITY_KIND_KERNEL; record "
                  "with nsys profile -t cuda,nvtx");
    }
    DSAPERF_TRY(read_strings());
    DSAPERF_TRY(read_kernels());
    if (timeline_.launches.empty()) {
      DSAPERF_TRY(explain_graphs());
      return fail(Errc::kNotFound,
                  "no kernel in this export: the table CUPTI_ACTIVITY_KIND_KERNEL is empty; record "
                  "with nsys profile -t cuda,nvtx");
    }
    DSAPERF_TRY(read_moves("CUPTI_ACTIVITY_KIND_MEMCPY", "[memcpy]", timeline_.copies));
    DSAPERF_TRY(read_moves("CUPTI_ACTIVITY_KIND_MEMSET", "[memset]", timeline_.fills));
    DSAPERF_TRY(read_host());
    DSAPERF_TRY(read_devices());
    DSAPERF_TRY(warn_of_graphs());
    if (timeline_.bad_events > 0) {
      timeline_.warnings.push_back(
          fmt::format("{} kernel rows without a name, or ending before they start, were left out",
                      timeline_.bad_events));
    }
    return std::move(timeline_);
  }

 private:
  bool has(std::string_view table) const { return tables_.contains(table); }

  Result<Statement> prepare(const std::string& sql) {
    sqlite3_stmt* raw = nullptr;
    if (sqlite3_prepare_v2(database_, sql.c_str(), -1, &raw, nullptr) != SQLITE_OK) {
      return refused(database_);
    }
    return Statement(raw);
  }

  // Calls `use` on each row.
  template <typename Use>
  Result<void> each(const std::string& sql, Use use) {
    DSAPERF_TRY_ASSIGN(const auto statement, prepare(sql));
    while (true) {
      const int status = sqlite3_step(statement.get());
      if (status == SQLITE_DONE) return {};
      if (status != SQLITE_ROW) return refused(database_);
      use(statement.get());
    }
  }

  Result<std::int64_t> count(const std::string& table) {
    std::int64_t rows = 0;
    DSAPERF_TRY(each("SELECT count(*) FROM " + table,
                     [&](sqlite3_stmt* row) { rows = sqlite3_column_int64(row, 0); }));
    return rows;
  }

  Result<std::set<std::string, std::less<>>> columns(const std::string& table) {
    std::set<std::string, std::less<>> names;
    DSAPERF_TRY(each("PRAGMA table_info(" + table + ")",
                     [&](sqlite3_stmt* row) { names.emplace(text(row, 1)); }));
    return names;
  }

  Result<void> read_tables() {
    std::int64_t tables = 0;
    DSAPERF_TRY(each("SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view')",
                     [&](sqlite3_stmt* row) {
                       tables_.emplace(text(row, 0));
                       tables += text(row, 1) == "table";
                     }));
    timeline_.source.tables = tables;
    if (!has("StringIds") && !has("CUPTI_ACTIVITY_KIND_KERNEL") && !has("META_DATA_EXPORT")) {
      return fail(Errc::kParse, "an SQLite file, but not an export of Nsight Systems");
    }
    return {};
  }

  Result<void> read_meta() {
    if (!has("META_DATA_EXPORT")) {
      timeline_.warnings.emplace_back(
          "no META_DATA_EXPORT: the schema version is unknown; read by column names");
      return {};
    }
    auto& source = timeline_.source;
    DSAPERF_TRY(each("SELECT name, value FROM META_DATA_EXPORT", [&](sqlite3_stmt* row) {
      const auto key = text(row, 0);
      if (key == "EXPORT_SCHEMA_VERSION") source.schema = text(row, 1);
      if (key == "EXPORT_PRODUCT_VERSION") source.product = text(row, 1);
    }));
    if (!source.schema) {
      timeline_.warnings.emplace_back("the export names no schema version; read by column names");
      return {};
    }
    const std::string& version = *source.schema;
    const auto dot = version.find('.');
    const auto major = parse_int(version.substr(0, dot)).value_or(0);
    const auto rest = dot == std::string::npos ? std::string() : version.substr(dot + 1);
    const auto minor = parse_int(rest.substr(0, rest.find('.'))).value_or(0);
    if (major != kKnownMajor || minor < kFirstKnownMinor || minor > kLastKnownMinor) {
      timeline_.warnings.push_back(
          fmt::format("schema {} is not one of {}.{} to {}.{}; read by column names", version,
                      kKnownMajor, kFirstKnownMinor, kKnownMajor, kLastKnownMinor));
    }
    return {};
  }

  Result<void> read_strings() {
    if (!has("StringIds")) return {};
    return each("SELECT id, value FROM StringIds", [&](sqlite3_stmt* row) {
      const auto id = sqlite3_column_int64(row, 0);
      if (id < 0) return;
      constexpr std::int64_t kDense = std::int64_t{1} << 22;  // nsys numbers strings from 0
      if (id < kDense) {
        if (static_cast<std::size_t>(id) >= dense_.size()) {
          dense_.resize(static_cast<std::size_t>(id) + 1, kNoName);
        }
        dense_[static_cast<std::size_t>(id)] = timeline_.names.intern(text(row, 1));
      } else {
        sparse_[id] = timeline_.names.intern(text(row, 1));
      }
    });
  }

  std::uint32_t string(std::int64_t id) const {
    if (id >= 0 && static_cast<std::size_t>(id) < dense_.size()) {
      return dense_[static_cast<std::size_t>(id)];
    }
    const auto found = sparse_.find(id);
    return found == sparse_.end() ? kNoName : found->second;
  }

  // A column, or a constant where the table lacks it.
  static std::string or_zero(const std::set<std::string, std::less<>>& have, const char* column) {
    return have.contains(column) ? std::string(column) : "0";
  }

  Result<void> read_kernels() {
    const std::string table = "CUPTI_ACTIVITY_KIND_KERNEL";
    DSAPERF_TRY_ASSIGN(const auto have, columns(table));
    timeline_.source.kernel_columns = static_cast<std::int64_t>(have.size());
    std::string name_columns;  // the best known of each row: not every row has every name
    for (const char* candidate : {"demangledName", "name", "nameId", "shortName", "mangledName"}) {
      if (have.contains(candidate)) name_columns += fmt::format("{}, ", candidate);
    }
    if (!have.contains("start") || !have.contains("end") || name_columns.empty()) {
      return fail(Errc::kParse, "{} has no start, end or name; its schema is not known", table);
    }
    DSAPERF_TRY_ASSIGN(const auto rows, count(table));
    timeline_.launches.reserve(static_cast<std::size_t>(rows));
    DSAPERF_TRY(each("SELECT min(start) FROM " + table, [&](sqlite3_stmt* row) {
      timeline_.origin_ns = sqlite3_column_int64(row, 0);
    }));
    const std::string sql = fmt::format(
        "SELECT start, \"end\", coalesce({}NULL), {}, {}, {}, {}, {} FROM {}", name_columns,
        or_zero(have, "deviceId"), or_zero(have, "streamId"), or_zero(have, "globalPid"),
        or_zero(have, "correlationId"), or_zero(have, "graphNodeId"), table);
    return each(sql, [&](sqlite3_stmt* row) {
      const int type = sqlite3_column_type(row, 2);
      const auto name = type == SQLITE_TEXT   ? timeline_.names.intern(text(row, 2))
                        : type == SQLITE_NULL ? kNoName
                                              : string(sqlite3_column_int64(row, 2));
      const auto start = sqlite3_column_int64(row, 0);
      const auto end = sqlite3_column_int64(row, 1);
      if (name == kNoName || end < start || sqlite3_column_type(row, 1) == SQLITE_NULL) {
        ++timeline_.bad_events;
        return;
      }
      timeline_.launches.push_back({.start_ns = since_origin(start),
                                    .duration_ns = static_cast<double>(end - start),
                                    .stream = sqlite3_column_int64(row, 4),
                                    .process = process_of(sqlite3_column_int64(row, 5)),
                                    .graph_node = sqlite3_column_int64(row, 7),
                                    .name = name,
                                    .device = sqlite3_column_int(row, 3)});
      links_.push_back({process_of(sqlite3_column_int64(row, 5)), sqlite3_column_int64(row, 6)});
    });
  }

  double since_origin(std::int64_t ns) const {
    return static_cast<double>(ns - timeline_.origin_ns);
  }

  // nsys packs hardware, virtual machine, process and thread into 8, 8, 24 and 24 bits.
  static std::int64_t process_of(std::int64_t global_id) { return (global_id >> 24) & 0xFFFFFF; }

  Result<void> read_moves(const std::string& table, std::string_view name,
                          std::vector<Launch>& into) {
    if (!has(table)) return {};
    DSAPERF_TRY_ASSIGN(const auto have, columns(table));
    if (!have.contains("start") || !have.contains("end")) return {};
    const auto id = timeline_.names.intern(name);
    return each(fmt::format("SELECT start, \"end\", {}, {} FROM {}", or_zero(have, "deviceId"),
                            or_zero(have, "streamId"), table),
                [&](sqlite3_stmt* row) {
                  const auto start = sqlite3_column_int64(row, 0);
                  const auto end = sqlite3_column_int64(row, 1);
                  if (end < start) return;
                  into.push_back({.start_ns = since_origin(start),
                                  .duration_ns = static_cast<double>(end - start),
                                  .stream = sqlite3_column_int64(row, 3),
                                  .name = id,
                                  .device = sqlite3_column_int(row, 2)});
                });
  }

  // NVTX ranges, into the timeline and, to be asked which one is around a call, into `ranges`.
  Result<void> read_ranges(HostCalls& ranges) {
    if (!has("NVTX_EVENTS")) return {};
    DSAPERF_TRY_ASSIGN(timeline_.source.nvtx_events, count("NVTX_EVENTS"));
    DSAPERF_TRY_ASSIGN(const auto have, columns("NVTX_EVENTS"));
    if (!have.contains("start") || !have.contains("end")) return {};
    // Rows that were counted, not a number that the file claims: safe to reserve for.
    const auto events = static_cast<std::size_t>(*timeline_.source.nvtx_events);
    timeline_.ranges.reserve(events);
    ranges.reserve(events);
    const std::string sql =
        fmt::format("SELECT start, \"end\", {}, {}, {} FROM NVTX_EVENTS WHERE \"end\" >= start",
                    have.contains("text") ? "text" : "NULL", or_zero(have, "textId"),
                    or_zero(have, "globalTid"));
    return each(sql, [&](sqlite3_stmt* row) {
      const auto direct = text(row, 2);
      const auto name =
          direct.empty() ? string(sqlite3_column_int64(row, 3)) : timeline_.names.intern(direct);
      if (name == kNoName) return;
      const Range range{.name = name,
                        .start_ns = since_origin(sqlite3_column_int64(row, 0)),
                        .end_ns = since_origin(sqlite3_column_int64(row, 1)),
                        .thread = sqlite3_column_int64(row, 4)};
      timeline_.ranges.push_back(range);
      ranges.add({range.start_ns, range.end_ns, range.thread, 0, name});
    });
  }

  // Ranges, and for each kernel the runtime call that launched it and the range around that.
  Result<void> read_host() {
    HostCalls ranges;
    DSAPERF_TRY(read_ranges(ranges));
    if (!has("CUPTI_ACTIVITY_KIND_RUNTIME")) return {};
    DSAPERF_TRY_ASSIGN(const auto have, columns("CUPTI_ACTIVITY_KIND_RUNTIME"));
    if (!have.contains("correlationId") || !have.contains("end")) return {};
    ranges.index();
    struct Call {
      double start_ns;
      double end_ns;
      std::int64_t thread;
    };
    // Correlation ids are numbered per process. Most rows of the table launch nothing.
    std::unordered_map<std::uint64_t, Call> calls;
    calls.reserve(links_.size());
    for (const auto& link : links_) calls.emplace(key(link.process, link.correlation), Call{});
    DSAPERF_TRY(each(
        fmt::format("SELECT start, \"end\", correlationId, {} FROM CUPTI_ACTIVITY_KIND_RUNTIME",
                    or_zero(have, "globalTid")),
        [&](sqlite3_stmt* row) {
          const auto thread = sqlite3_column_int64(row, 3);
          const auto found = calls.find(key(process_of(thread), sqlite3_column_int64(row, 2)));
          if (found == calls.end()) return;
          found->second = {.start_ns = since_origin(sqlite3_column_int64(row, 0)),
                           .end_ns = since_origin(sqlite3_column_int64(row, 1)),
                           .thread = thread};
        }));
    for (std::size_t i = 0; i < timeline_.launches.size(); ++i) {
      const auto& call = calls[key(links_[i].process, links_[i].correlation)];
      if (call.end_ns == 0) continue;
      timeline_.launches[i].launched_ns = call.end_ns;
      if (const auto* range = ranges.innermost_at(call.thread, call.start_ns)) {
        timeline_.launches[i].range = range->name;
      }
    }
    return {};
  }

  static std::uint64_t key(std::int64_t process, std::int64_t correlation) {
    return (static_cast<std::uint64_t>(process) << 32) ^ static_cast<std::uint64_t>(correlation);
  }

  Result<void> read_devices() {
    if (!has("TARGET_INFO_GPU")) return {};
    DSAPERF_TRY_ASSIGN(const auto have, columns("TARGET_INFO_GPU"));
    if (!have.contains("name")) return {};
    return each(fmt::format("SELECT name FROM TARGET_INFO_GPU{}",
                            have.contains("id") ? " ORDER BY id" : ""),
                [&](sqlite3_stmt* row) { timeline_.devices.emplace_back(text(row, 0)); });
  }

  struct Graphs {
    std::int64_t rows = 0;
    std::int64_t total_ns = 0;
  };

  Result<Graphs> whole_graphs() {
    Graphs graphs;
    const std::string table = "CUPTI_ACTIVITY_KIND_GRAPH_TRACE";
    if (!has(table)) return graphs;
    DSAPERF_TRY_ASSIGN(const auto have, columns(table));
    if (!have.contains("start") || !have.contains("end")) return graphs;
    DSAPERF_TRY(
        each("SELECT count(*), total(\"end\" - start) FROM " + table, [&](sqlite3_stmt* row) {
          graphs = {.rows = sqlite3_column_int64(row, 0),
                    .total_ns = static_cast<std::int64_t>(sqlite3_column_double(row, 1))};
        }));
    return graphs;
  }

  static std::string describe(const Graphs& graphs) {
    return fmt::format(
        "{} launches of whole CUDA graphs ({} ns, {:.0f} ns each) were recorded "
        "without their kernels; record again with --cuda-graph-trace=node",
        graphs.rows, graphs.total_ns,
        static_cast<double>(graphs.total_ns) / static_cast<double>(graphs.rows));
  }

  Result<void> explain_graphs() {
    DSAPERF_TRY_ASSIGN(const auto graphs, whole_graphs());
    if (graphs.rows == 0) return {};
    return fail(Errc::kNotFound, "no kernel in this export: {}", describe(graphs));
  }

  Result<void> warn_of_graphs() {
    DSAPERF_TRY_ASSIGN(const auto graphs, whole_graphs());
    if (graphs.rows > 0) timeline_.warnings.push_back(describe(graphs));
    return {};
  }

  struct Link {
    std::int64_t process;
    std::int64_t correlation;
  };

  sqlite3* database_;
  Timeline timeline_;
  std::set<std::string, std::less<>> tables_;
  std::vector<std::uint32_t> dense_;  // of StringIds: name by id
  std::unordered_map<std::int64_t, std::uint32_t> sparse_;
  std::vector<Link> links_;  // of each launch
};

Result<Timeline> read_open(sqlite3* database) {
  // Foreign bytes: refuse what a crafted schema could do beyond reading tables.
  sqlite3_db_config(database, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(database, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  return NsysImporter(database).read();
}

}  // namespace

Result<Timeline> read_nsys_sqlite(const std::filesystem::path& path) {
  DSAPERF_TRY_ASSIGN(const auto probe, ByteReader::open(path));
  if (probe.is_gzip()) {
    DSAPERF_TRY_ASSIGN(auto bytes, read_maybe_gzip(path));
    return read_nsys_sqlite(std::move(bytes));
  }
  sqlite3* raw = nullptr;
  // Immutable: no lock and no journal beside a file that may lie on a read-only disk.
  const std::string absolute = std::filesystem::absolute(path).native();
  std::string uri = "file:";
  for (const char c : absolute) {
    if (c == '?' || c == '#' || c == '%') {
      uri += fmt::format("%{:02x}", static_cast<unsigned char>(c));
    } else {
      uri += c;
    }
  }
  uri += "?immutable=1";
  const int status = sqlite3_open_v2(
      uri.c_str(), &raw, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, nullptr);
  const Database database(raw);
  if (status != SQLITE_OK) return refused(raw);
  sqlite3_exec(raw, "PRAGMA mmap_size=4294967296", nullptr, nullptr, nullptr);
  return read_open(raw);
}

Result<Timeline> read_nsys_sqlite(std::string bytes) {
  // Bytes 18 and 19 say how the file is written to; 2 asks for a write-ahead log, which a database
  // in memory cannot have.
  constexpr std::size_t kHeader = 100;
  if (bytes.size() < kHeader) return fail(Errc::kParse, "an SQLite file cut in its header");
  bytes[18] = bytes[19] = 1;
  sqlite3* raw = nullptr;
  const int status =
      sqlite3_open_v2(":memory:", &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  const Database database(raw);
  if (status != SQLITE_OK) return refused(raw);
  const auto size = static_cast<sqlite3_int64>(bytes.size());
  if (sqlite3_deserialize(raw, "main", reinterpret_cast<unsigned char*>(bytes.data()), size, size,
                          SQLITE_DESERIALIZE_READONLY) != SQLITE_OK) {
    return refused(raw);
  }
  return read_open(raw);
}

}  // namespace dsaperf::trace
