#include "dsaperf/collect/journal.hpp"

#include "dsaperf/core/file.hpp"
#include "dsaperf/core/testing/folder.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <fstream>

namespace dsaperf::collect {
namespace {

class JournalTest : public FolderTest {
 protected:
  Result<Journal> open(bool resume) { return Journal::open(directory, header, resume); }
  std::filesystem::path file() const { return directory / "rows.jsonl"; }

  static Entry entry(int past) {
    Entry result;
    result.what = {.phase = perfdb::Phase::kGeneration, .requests = {{1, 1, past}}, .heads = 16};
    result.measurement.warm.median = {10.5};
    result.measurement.stages = {
        {.stage = model::Stage::kTopk, .time = {1.5}, .cold = {2}, .kernel = "topk_kernel"}};
    result.measurement.kernel_source = "attention_kernel";
    result.attempts = 1;
    return result;
  }

  JournalHeader header{.model = "m", .architecture = "a", .source = {.device = "fake"}};
};

TEST_F(JournalTest, ResultsOutliveTheProcess) {
  ASSERT_TRUE(open(false)->append(entry(1)));
  const auto again = open(true);
  ASSERT_TRUE(again) << again.error().message();
  ASSERT_EQ(again->entries().size(), 1U);
  const auto& read = again->entries().begin()->second;
  EXPECT_EQ(read.measurement.warm.median.value, 10.5);
  EXPECT_EQ(read.measurement.stages.front().kernel, "topk_kernel");
  EXPECT_EQ(read.measurement.stages.front().cold.value, 2);
}

TEST_F(JournalTest, AReasonThatIsNoUtf8IsRecordedNevertheless) {
  auto failed = entry(1);
  failed.error = "answered \xFF\xC3";
  ASSERT_TRUE(open(false)->append(failed));
  EXPECT_EQ(open(true)->entries().begin()->second.error, "answered \uFFFD\uFFFD");
}

TEST_F(JournalTest, ExistingResultsAreNotTouchedWithoutResume) {
  ASSERT_TRUE(open(false)->append(entry(1)));
  const auto again = open(false);
  ASSERT_FALSE(again);
  EXPECT_NE(again.error().message().find("--resume"), std::string::npos);
}

TEST_F(JournalTest, ACutLastLineIsDroppedAtEveryLength) {
  {
    auto journal = open(false);
    ASSERT_TRUE(journal->append(entry(1)));
    ASSERT_TRUE(journal->append(entry(3)));
  }
  const auto whole = *read_file(file(), Bytes{1 << 20});
  const auto last_begin = whole.rfind('\n', whole.size() - 2) + 1;
  for (auto length = last_begin; length < whole.size(); length += 7) {
    std::ofstream(file(), std::ios::trunc) << whole.substr(0, length);
    auto journal = open(true);
    ASSERT_TRUE(journal) << length << ": " << journal.error().message();
    EXPECT_EQ(journal->entries().size(), 1U) << length;
    ASSERT_TRUE(journal->append(entry(3)));
    EXPECT_EQ(read_journal(file())->entries.size(), 2U) << length;
  }
}

TEST_F(JournalTest, DamageBeforeTheEndIsAnErrorWithItsLine) {
  ASSERT_TRUE(open(false)->append(entry(1)));
  std::ofstream(file(), std::ios::app) << "garbage\n";
  const auto again = open(true);
  ASSERT_FALSE(again);
  EXPECT_NE(again.error().message().find("rows.jsonl: line 3"), std::string::npos)
      << again.error().message();
}

TEST_F(JournalTest, AFileThatIsNoJournalIsSaidInWords) {
  std::filesystem::create_directories(directory);
  std::ofstream(file()) << R"({"id": "a case, where the header is due"})" << "\n";
  const auto opened = open(true);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().message(), file().native() + ": line 1: key 'format' not found");
}

TEST_F(JournalTest, ASecondWriterIsRefused) {
  const auto first = open(false);
  ASSERT_TRUE(first);
  const auto second = open(true);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message().find("another collector"), std::string::npos);
}

TEST_F(JournalTest, AnotherCardIsNotMixedIn) {
  ASSERT_TRUE(open(false)->append(entry(1)));
  header.source.device = "other";
  const auto again = open(true);
  ASSERT_FALSE(again);
  EXPECT_NE(again.error().message().find("'fake'"), std::string::npos) << again.error().message();
}

TEST_F(JournalTest, AFullDiskLosesNothingAndIsNamed) {
  auto journal = open(false);
  ASSERT_TRUE(journal->append(entry(1)));
  const auto before = *read_file(file(), Bytes{1 << 20});

  // A file-size limit stands in for the full disk: the write ends short in the same way.
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  const rlimit tight{.rlim_cur = before.size() + 10, .rlim_max = old.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tight), 0);
  const auto written = journal->append(entry(3));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);

  ASSERT_FALSE(written);
  EXPECT_NE(written.error().message().find("--resume"), std::string::npos);
  EXPECT_EQ(*read_file(file(), Bytes{1 << 20}), before);
  EXPECT_TRUE(journal->append(entry(3)));
}

TEST_F(JournalTest, ALaterResultOfACaseReplacesTheEarlier) {
  auto failed = entry(1);
  failed.error = "broken";
  {
    auto journal = open(false);
    ASSERT_TRUE(journal->append(failed));
    ASSERT_TRUE(journal->append(entry(1)));
  }
  const auto content = read_journal(file());
  ASSERT_TRUE(content);
  EXPECT_TRUE(content->entries.begin()->second.error.empty());
}

TEST_F(JournalTest, ALaterFormatIsRefusedByName) {
  std::filesystem::create_directories(directory);
  std::ofstream(file()) << R"({"format": "dsaperf.collect.journal.9"})" << "\n";
  const auto opened = open(true);
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message().find("journal.9"), std::string::npos);
}

}  // namespace
}  // namespace dsaperf::collect
