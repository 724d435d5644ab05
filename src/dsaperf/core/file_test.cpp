#include "dsaperf/core/file.hpp"

#include "dsaperf/core/testing/fixtures.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <string>

namespace dsaperf {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class FileTest : public ::testing::Test {
 protected:
  FileTest() { std::filesystem::create_directories(folder); }
  ~FileTest() override { std::filesystem::remove_all(folder); }

  std::filesystem::path write(const std::string& name, std::string_view content) {
    const auto path = folder / name;
    EXPECT_TRUE(write_file(path, content).has_value());
    return path;
  }

  std::filesystem::path folder = std::filesystem::path(::testing::TempDir()) /
                                 ::testing::UnitTest::GetInstance()->current_test_info()->name();
};

std::string error_of(const std::filesystem::path& path, Bytes limit = {1000}) {
  const auto content = read_file(path, limit);
  return content ? "no error" : content.error().message();
}

TEST_F(FileTest, GivesBackWhatWasWrittenAndLeavesNothingBeside) {
  const auto path = write("deeper/a.bin", std::string_view("a\0b\r\n", 5));
  EXPECT_EQ(read_file(path, {5}).value(), std::string_view("a\0b\r\n", 5));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(path.parent_path()), {}), 1);
}

TEST_F(FileTest, WritesWhatALinkLeadsToAndKeepsTheLink) {
  const auto target = write("target", "old");
  const auto link = folder / "link";
  std::filesystem::create_symlink("target", link);
  ASSERT_TRUE(write_file(link, "new"));
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_EQ(read_file(target, {5}).value(), "new");
}

TEST_F(FileTest, WritesIntoAPipeAndReplacesNoDevice) {
  const auto pipe = folder / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const int end = ::open(pipe.c_str(), O_RDWR | O_NONBLOCK);
  ASSERT_TRUE(write_file(pipe, "through"));
  std::array<char, 10> read;
  EXPECT_EQ(::read(end, read.data(), read.size()), 7);
  ::close(end);
  EXPECT_TRUE(std::filesystem::is_fifo(pipe));
  // Behind a link, so that a writer that renames replaces the link and not the machine's device.
  std::filesystem::create_symlink("/dev/full", folder / "full");
  const auto written = write_file(folder / "full", "x");
  ASSERT_FALSE(written);
  EXPECT_THAT(written.error().message(), HasSubstr("No space left on device"));
}

TEST_F(FileTest, WritesIntoADescriptorThatThePathLeadsTo) {
  const auto path = write("log", "");
  const int log = ::open(path.c_str(), O_WRONLY);
  ASSERT_EQ(::write(log, "before,", 7), 7);
  const auto number = std::to_string(log);
  ASSERT_TRUE(write_file("/proc/self/fd/" + number, "itself,"));
  std::filesystem::create_symlink("/dev/fd/" + number, folder / "link");
  ASSERT_TRUE(write_file(folder / "link", "by a link,"));
  ASSERT_EQ(::write(log, "after", 5), 5);
  ::close(log);
  EXPECT_EQ(read_file(path, {50}).value(), "before,itself,by a link,after");
  const auto closed = write_file("/dev/fd/" + number, "x");
  ASSERT_FALSE(closed);
  EXPECT_THAT(closed.error().message(), HasSubstr("Bad file descriptor"));
}

TEST_F(FileTest, NamesThePathAndWhatIsWrong) {
  EXPECT_EQ(error_of(folder / "absent"), (folder / "absent").native() + ": no such file");
  EXPECT_THAT(error_of(folder), HasSubstr("is a folder"));
  EXPECT_THAT(error_of(write("empty", "")), HasSubstr("empty file"));
  EXPECT_THAT(error_of(write("pointer", "version https://git-lfs.github.com/spec/v1\noid sha")),
              HasSubstr("git-lfs pointer"));
  EXPECT_THAT(error_of(write("page", "\xef\xbb\xbf\n <!DOCTYPE HTML><html>")),
              HasSubstr("HTML page"));
}

TEST_F(FileTest, RefusesAFileOverTheLimitByItsSize) {
  const auto path = write("long", "123456");
  EXPECT_THAT(error_of(path, {5}), AllOf(HasSubstr("6 bytes"), HasSubstr("5 allowed")));
}

TEST_F(FileTest, ChecksTheStartAlone) {
  EXPECT_TRUE(check_data_file(write("data", "PAR1")).has_value());
  EXPECT_FALSE(check_data_file(write("empty", "")).has_value());
}

TEST_F(FileTest, KnowsAPointerWhereATableShouldBe) {
  const auto path = testing::fixture("bad/dsa_generation_module_perf.parquet");
  if (!path) GTEST_SKIP() << testing::kNoFixtures;
  EXPECT_THAT(check_data_file(*path).error().message(), HasSubstr("git-lfs pointer"));
}

}  // namespace
}  // namespace dsaperf
