#include "dsaperf/trace/read_trace.hpp"

#include "dsaperf/core/gzip.hpp"
#include "dsaperf/core/testing/fixtures.hpp"
#include "dsaperf/trace/importers/own_trace.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <cmath>
#include <fstream>

namespace dsaperf::trace {
namespace {

using ::testing::HasSubstr;

std::filesystem::path written(std::string_view name, std::string_view bytes) {
  const auto path = std::filesystem::path(::testing::TempDir()) / name;
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

// A database as nsys would export it, with what the statements put into it.
std::filesystem::path database(std::string_view name, const std::vector<std::string>& statements) {
  const auto path = std::filesystem::path(::testing::TempDir()) / name;
  std::filesystem::remove(path);
  sqlite3* db = nullptr;
  sqlite3_open(path.c_str(), &db);
  for (const auto& statement : statements) {
    EXPECT_EQ(sqlite3_exec(db, statement.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << statement;
  }
  sqlite3_close(db);
  return path;
}

std::vector<std::string> minimal_export(std::string schema = "3.26.1") {
  return {"CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT)",
          "CREATE TABLE META_DATA_EXPORT (name TEXT, value TEXT)",
          "INSERT INTO META_DATA_EXPORT VALUES ('EXPORT_SCHEMA_VERSION', '" + schema + "')",
          "CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INTEGER, end INTEGER, deviceId INTEGER, "
          "streamId INTEGER, correlationId INTEGER, globalPid INTEGER, demangledName INTEGER, "
          "graphNodeId INTEGER)",
          "INSERT INTO StringIds VALUES (1, 'void f<(int)1>(int)'), (2, 'step'), (3, 'g')"};
}

TEST(ReadTraceTest, SqliteGivesKernelsRangesAndLaunchTimes) {
  auto statements = minimal_export();
  const std::string pid = std::to_string(std::int64_t{77} << 24);
  const std::string tid = std::to_string((std::int64_t{77} << 24) + 5);
  statements.insert(
      statements.end(),
      {"INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (1000, 1010, 0, 7, 42, " + pid +
           ", 1, NULL), "
           "(1020, 1025, 1, 7, 43, " +
           pid + ", 3, 99)",
       "CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INTEGER, end INTEGER, globalTid INTEGER, "
       "correlationId INTEGER, nameId INTEGER)",
       "INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (900, 950, " + tid + ", 42, 3)",
       "CREATE TABLE NVTX_EVENTS (start INTEGER, end INTEGER, text TEXT, textId INTEGER, globalTid "
       "INTEGER)",
       "INSERT INTO NVTX_EVENTS VALUES (800, 960, NULL, 2, " + tid +
           "), (890, 960, 'inner', NULL, " + tid + "), (1, NULL, 'open', NULL, " + tid + ")"});
  const auto timeline = read_trace(database("full.sqlite", statements));
  ASSERT_TRUE(timeline) << timeline.error().message();
  ASSERT_EQ(timeline->launches.size(), 2U);
  const auto& first = timeline->launches[0];
  EXPECT_EQ(timeline->origin_ns, 1000);
  EXPECT_EQ(first.launched_ns, -50);
  EXPECT_EQ(timeline->names[first.range], "inner");
  EXPECT_EQ(timeline->launches[1].graph_node, 99);
  EXPECT_TRUE(std::isnan(timeline->launches[1].launched_ns));
  EXPECT_EQ(timeline->source.nvtx_events, 3);
  EXPECT_TRUE(timeline->warnings.empty());
}

TEST(ReadTraceTest, ARangeThatIsNotThereIsRefusedWithThoseThatAre) {
  Timeline timeline;
  timeline.launches.push_back({.duration_ns = 1, .name = timeline.names.intern("kernel")});
  const auto refusal = [&timeline] { return trim_to_range(timeline, "step").error().message(); };
  EXPECT_THAT(refusal(),
              HasSubstr("no range named \"step\", nor any other: ranges are in an nsys"));
  for (int i = 0; i < 7; ++i) {
    const auto name = timeline.names.intern("layer " + std::to_string(i));
    timeline.ranges.push_back({.name = name, .start_ns = 0, .end_ns = 10.0 + i});
  }
  EXPECT_EQ(
      refusal(),
      "no range named \"step\"; there are \"layer 6\", \"layer 5\", \"layer 4\", \"layer 3\", "
      "\"layer 2\" and 2 more (trace show --json)");
}

TEST(ReadTraceTest, ATimeWithoutKernelsIsRefusedWithTheTimeThatHasSome) {
  Timeline timeline;
  for (const double start : {1e6, 3.5e6})
    timeline.launches.push_back({.start_ns = start, .duration_ns = 1});
  EXPECT_EQ(trim_to_time(timeline, 9e6, 10e6).error().message(),
            "no kernel in that time: the last starts 2.5 ms after the first");
}

TEST(ReadTraceTest, ASummaryCannotBeCut) {
  Timeline timeline;
  timeline.sums.push_back({.calls = 1, .total_ns = 1});
  EXPECT_THAT(keep_device(timeline, 0).error().message(), HasSubstr("no times, ranges or devices"));
}

TEST(ReadTraceTest, SqliteTakesTheWholeNameWhateverItsColumnIsCalled) {
  auto statements = minimal_export();
  statements.insert(statements.end(),
                    {"ALTER TABLE CUPTI_ACTIVITY_KIND_KERNEL RENAME COLUMN demangledName TO name",
                     "ALTER TABLE CUPTI_ACTIVITY_KIND_KERNEL ADD COLUMN shortName INTEGER",
                     "INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL (start, end, name, shortName) VALUES "
                     "(10, 20, 1, 3)"});
  const auto timeline = read_trace(database("renamed.sqlite", statements));
  ASSERT_TRUE(timeline) << timeline.error().message();
  EXPECT_EQ(timeline->names[timeline->launches.at(0).name], "void f<(int)1>(int)");
}

TEST(ReadTraceTest, SqliteRowsMayLackOneNameAndHaveAnother) {
  const auto timeline = read_trace(database(
      "short_names.sqlite",
      {"CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT)",
       "INSERT INTO StringIds VALUES (0, 'not a kernel'), (1, 'f<int>(int)'), (2, 'g')",
       "CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INTEGER, end INTEGER, demangledName "
       "INTEGER, shortName INTEGER)",
       "INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (0, 10, 1, 2), (20, 30, NULL, 2), "
       "(40, 50, NULL, NULL)"}));
  ASSERT_TRUE(timeline) << timeline.error().message();
  ASSERT_EQ(timeline->launches.size(), 2U);
  EXPECT_EQ(timeline->names[timeline->launches[0].name], "f<int>(int)");
  EXPECT_EQ(timeline->names[timeline->launches[1].name], "g");
  EXPECT_EQ(timeline->bad_events, 1);
}

TEST(ReadTraceTest, SqliteOfAnotherSchemaIsReadWithAWarning) {
  auto statements = minimal_export("4.0.0");
  statements.emplace_back(
      "INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (0, 10, 0, 7, 1, 0, 1, NULL)");
  const auto timeline = read_trace(database("newer.sqlite", statements));
  ASSERT_TRUE(timeline);
  EXPECT_THAT(timeline->warnings.at(0), HasSubstr("schema 4.0.0"));
}

TEST(ReadTraceTest, WholeGraphsAreRecognised) {
  auto statements = minimal_export();
  statements.emplace_back(
      "CREATE TABLE CUPTI_ACTIVITY_KIND_GRAPH_TRACE (start INTEGER, end INTEGER)");
  statements.emplace_back("INSERT INTO CUPTI_ACTIVITY_KIND_GRAPH_TRACE VALUES (0, 30), (40, 70)");
  const auto none = read_trace(database("graphs.sqlite", statements));
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().message(), HasSubstr("--cuda-graph-trace=node"));
  statements.emplace_back(
      "INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (0, 10, 0, 7, 1, 0, 1, NULL)");
  const auto some = read_trace(database("graphs.sqlite", statements));
  ASSERT_TRUE(some);
  EXPECT_THAT(some->warnings.at(0), HasSubstr("2 launches of whole CUDA graphs"));
}

TEST(ReadTraceTest, GzippedSqliteIsReadFromMemory) {
  auto statements = minimal_export();
  statements.emplace_back(
      "INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (0, 10, 0, 7, 1, 0, 1, NULL)");
  const auto plain = database("plain.sqlite", statements);
  const auto packed = std::filesystem::path(::testing::TempDir()) / "packed.sqlite.gz";
  ASSERT_TRUE(write_gzip(packed, read_maybe_gzip(plain).value()));
  EXPECT_EQ(read_trace(packed).value().launches.size(), 1U);
}

TEST(ReadTraceTest, OtherDatabasesAndRubbishAreRefusedWithTheFilesName) {
  EXPECT_THAT(read_trace(database("other.sqlite", {"CREATE TABLE t (x)"})).error().message(),
              HasSubstr("other.sqlite: an SQLite file, but not"));
  EXPECT_THAT(read_trace(written("empty.csv", "")).error().message(), HasSubstr("empty"));
  EXPECT_THAT(read_trace(written("x.bin", std::string("QD\0\1\2", 5))).error().message(),
              HasSubstr("x.bin: not a trace"));
  EXPECT_THAT(
      read_trace(written("x.json", "{\"traceEvents\": [{\"ph\": \"X\"}]}")).error().message(),
      HasSubstr("no GPU kernel"));
}

TEST(ReadTraceTest, OurOwnTraceComesBackAsItWas) {
  Timeline timeline;
  timeline.origin_ns = 1790857026000000000;
  timeline.devices = {"NVIDIA H200"};
  Launch launch;
  launch.start_ns = 0.25;
  launch.duration_ns = 11.5;
  launch.stream = 7;
  launch.process = 4711;
  launch.device = 1;
  launch.name = timeline.names.intern("f<\"x\\\">\n(int)");
  launch.range = timeline.names.intern("stage/topk");
  timeline.launches = {launch};
  launch.launched_ns = -3;
  launch.graph_node = 12;
  timeline.copies = {launch};
  timeline.ranges.push_back({.name = launch.range, .start_ns = 0, .end_ns = 9, .thread = 5});
  const auto back = read_trace(written("own.json", own_trace_text(timeline)));
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(own_trace_text(*back), own_trace_text(timeline));
  EXPECT_EQ(back->names[back->launches[0].name], "f<\"x\\\">\n(int)");
}

TEST(ReadTraceTest, DamagedLaunchesOfOursAreRefused) {
  const auto message = [](const std::string& row) {
    const auto trace = read_trace(written(
        "damaged.json",
        "{\"format\": \"dsaperf.trace.1\", \"names\": [\"f\"], \"launches\": [" + row + "]}"));
    return trace ? std::string("read") : trace.error().message();
  };
  EXPECT_EQ(message("[\"k\", 0, 1, 2, 0, 7, 1, 0, null, null]"), "read");
  for (const char* row :
       {"[\"k\", 0, 1, 2, 0, 7, 1, 0, n!ll, null]", "[\"x\", 0, 1, 2, 0, 7, 1, 0, 0, 0]",
        "[\"k\", 9, 1, 2, 0, 7, 1, 0, 0, 0]", "[\"k\", 0, 1, -2, 0, 7, 1, 0, 0, 0]",
        "[\"k\", 0, 1]", "7", "[]", "[\"k\", 0, 1, 2, 0, 7, 1, 0, [1], 0]"}) {
    EXPECT_THAT(message(row), HasSubstr("launch 1 is not as")) << row;
  }
}

TEST(ReadTraceTest, LaterFormatsOfOursAreRefusedByName) {
  EXPECT_THAT(
      read_trace(written("later.json", "{\"format\": \"dsaperf.trace.2\"}")).error().message(),
      HasSubstr("dsaperf.trace.2"));
}

TEST(ReadTraceTest, FixturesHoldWhatTheyHold) {
  const auto folder = testing::fixture("traces");
  if (!folder) GTEST_SKIP() << testing::kNoFixtures;
  const auto trace = read_trace(*folder / "transformers-5.17-v32_decode-h200.json.gz");
  ASSERT_TRUE(trace) << trace.error().message();
  EXPECT_EQ(trace->source.events, 7194);
  EXPECT_NEAR(totals(*trace).total_ns, 8903855, 1);
  const auto sums = read_trace(*testing::fixture("nsys_sqlite/mfu_2gpu_before.sqlite.gz"));
  ASSERT_TRUE(sums);
  EXPECT_EQ(totals(*sums).total_ns, 535200650);
  EXPECT_EQ(totals(*sums).devices.at(1).kernels, 2017);
}

}  // namespace
}  // namespace dsaperf::trace
