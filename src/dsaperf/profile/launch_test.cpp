#include "dsaperf/profile/launch.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <system_error>

namespace dsaperf::profile {
namespace {

// A folder of its own, gone with the test.
class InjectionLibraryTest : public testing::Test {
 protected:
  void SetUp() override {
    folder = std::filesystem::temp_directory_path() /
             ("dsaperf_launch_test_" + std::to_string(getpid()));
    std::filesystem::create_directories(folder);
  }
  void TearDown() override {
    std::error_code error;
    std::filesystem::remove_all(folder, error);
  }
  std::filesystem::path put(const std::string& place) const {
    const auto path = folder / place;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << "x";
    return path;
  }
  std::filesystem::path folder;
};

TEST_F(InjectionLibraryTest, IsFoundInAnInstalledPrefix) {
  for (const char* place : {"lib/libdsaperf_inject.so", "lib/dsaperf/libdsaperf_inject.so",
                            "lib/x86_64-linux-gnu/dsaperf/libdsaperf_inject.so"}) {
    const auto library = put(place);
    std::filesystem::create_directories(folder / "bin");
    EXPECT_EQ(injection_library(folder / "bin/dsaperf", "").value(),
              std::filesystem::canonical(library));
    std::filesystem::remove_all(folder / "lib");
    std::filesystem::remove_all(folder / "bin");
  }
}

TEST_F(InjectionLibraryTest, IsFoundInABuildTree) {
  const auto library = put("src/dsaperf/profile/libdsaperf_inject.so");
  std::filesystem::create_directories(folder / "tools/dsaperf");
  EXPECT_EQ(injection_library(folder / "tools/dsaperf/dsaperf", "").value(),
            std::filesystem::canonical(library));
}

TEST_F(InjectionLibraryTest, OfTheEnvironmentMustExist) {
  const auto named = put("mine.so");
  EXPECT_EQ(injection_library(folder / "bin/dsaperf", named).value(), named);
  const auto missing = injection_library(folder / "bin/dsaperf", folder / "gone.so");
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message().find("DSAPERF_INJECT"), std::string::npos);
  EXPECT_NE(missing.error().message().find("gone.so"), std::string::npos);
}

TEST_F(InjectionLibraryTest, OfABuildWithoutCudaIsAnErrorThatSaysWhatToDo) {
  const auto missing = injection_library(folder / "bin/dsaperf", "");
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message().find("preset release"), std::string::npos);
}

TEST_F(InjectionLibraryTest, LogsOfAnotherRunAreNotMergedIntoThisOne) {
  const auto logs = folder / "logs";
  // What the injection library does in a process that uses CUDA.
  const std::vector<std::string> command = {
      "sh", "-c",
      "printf 'dsaperf.activity.1\\np 7 x\\nn 0 f\\nk 1 2 0 7 1 0 0\\nz 3\\n' > "
      "$DSAPERF_PROFILE_DIR/7.activity"};
  const auto first = run_profiled(command, put("inject.so"), logs);
  ASSERT_TRUE(first) << first.error().message();
  ASSERT_EQ(first->processes.size(), 1U);
  EXPECT_EQ(first->processes[0].timeline.launches.size(), 1U);
  const auto second = run_profiled(command, put("inject.so"), logs);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message().find("another folder"), std::string::npos);
}

}  // namespace
}  // namespace dsaperf::profile
