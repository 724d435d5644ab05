// The injection library in processes that fork, become another program, or open ranges before they
// use CUDA: over a libcupti without a GPU (testing/fake_cupti.cpp).

#include "dsaperf/profile/recording.hpp"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <system_error>
#include <vector>

namespace dsaperf::profile {
namespace {

class InjectTest : public testing::Test {
 protected:
  void SetUp() override {
    folder = std::filesystem::temp_directory_path() /
             ("dsaperf_inject_test_" + std::to_string(getpid()));
    std::filesystem::create_directories(folder);
  }
  void TearDown() override {
    std::error_code error;
    std::filesystem::remove_all(folder, error);
  }

  // Does it in a child, as the library keeps state; the number of the child, which has ended well.
  pid_t in_process(const std::function<void()>& work) const {
    const pid_t child = fork();
    if (child == 0) {
      setenv("DSAPERF_PROFILE_DIR", folder.c_str(), 1);
      setenv("DSAPERF_CUPTI", DSAPERF_FAKE_CUPTI, 1);
      setenv("FAKE_CUPTI_STARTED", started_file().c_str(), 1);
      setenv("FAKE_KERNEL", "first", 1);
      work();
      std::exit(0);  // with exit handlers, as a program ends
    }
    EXPECT_EQ(status_of(child), 0);
    return child;
  }
  static int status_of(pid_t child) {
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  // What the CUDA driver and NVTX do in a process.
  static void cuda_begins() { reinterpret_cast<int (*)()>(function("InitializeInjection"))(); }
  static void nvtx_begins() {
    if (reinterpret_cast<int (*)(void*)>(function("InitializeInjectionNvtx2"))(nullptr) != 1)
      _exit(1);
  }
  static void* function(const char* name) {
    void* library = dlopen(DSAPERF_INJECT_LIBRARY, RTLD_NOW);
    void* found = library == nullptr ? nullptr : dlsym(library, name);
    if (found == nullptr) _exit(1);
    return found;
  }

  std::filesystem::path started_file() const { return folder / "started"; }
  std::vector<ProcessRecording> recordings() const {
    std::vector<ProcessRecording> all;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (entry.path().extension() != ".activity") continue;
      auto recording = read_activity_log(entry.path());
      EXPECT_TRUE(recording) << recording.error().message();
      if (recording) all.push_back(std::move(*recording));
    }
    return all;
  }
  static std::string kernels(const ProcessRecording& recording) {
    std::string names;
    for (const auto& launch : recording.timeline.launches)
      names += std::string(recording.timeline.names[launch.name]) + ";";
    return names;
  }

  std::filesystem::path folder;
};

TEST_F(InjectTest, AProcessThatUsesCudaLeavesItsLog) {
  const auto process = in_process([] { cuda_begins(); });
  const auto found = recordings();
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].process, process);
  EXPECT_TRUE(found[0].ended);
  EXPECT_EQ(kernels(found[0]), "first;");
}

TEST_F(InjectTest, RangesBeforeCudaDoNotBeginIt) {
  // Else a child forked after it could not use CUDA.
  in_process([] { nvtx_begins(); });
  EXPECT_FALSE(std::filesystem::exists(started_file()));
  EXPECT_TRUE(recordings().empty());
}

TEST_F(InjectTest, AChildForkedAfterRangesRecordsByItself) {
  pid_t child = 0;
  const auto parent = in_process([&] {
    nvtx_begins();
    child = fork();
    if (child == 0) {
      setenv("FAKE_KERNEL", "of the child", 1);
      cuda_begins();
      std::exit(0);
    }
    if (status_of(child) != 0) _exit(1);
    cuda_begins();
  });
  const auto found = recordings();
  ASSERT_EQ(found.size(), 2U);
  for (const auto& recording : found) {
    EXPECT_TRUE(recording.ended);
    EXPECT_EQ(kernels(recording), recording.process == parent ? "first;" : "of the child;");
  }
}

TEST_F(InjectTest, AChildForkedWhileItRecordsWritesNothing) {
  in_process([] {
    cuda_begins();
    const pid_t child = fork();
    if (child == 0) std::exit(0);
    if (status_of(child) != 0) _exit(1);
  });
  const auto found = recordings();
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(kernels(found[0]), "first;");
}

// What the process of the next test becomes; by itself it is no test.
TEST_F(InjectTest, DISABLED_Program) {
  cuda_begins();
}

TEST_F(InjectTest, AProcessThatBecomesAnotherProgramLeavesBothLogs) {
  const auto process = in_process([] {
    cuda_begins();
    setenv("FAKE_KERNEL", "second", 1);
    execl("/proc/self/exe", "inject_test", "--gtest_filter=InjectTest.DISABLED_Program",
          "--gtest_also_run_disabled_tests", nullptr);
    _exit(1);
  });
  const auto found = recordings();
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].process, process);
  EXPECT_EQ(found[1].process, process);
  // Of the first its exit handlers did not run: it keeps what had been flushed, here nothing yet.
  const auto& second = found[found[0].ended ? 0 : 1];
  EXPECT_FALSE(found[found[0].ended ? 1 : 0].ended);
  EXPECT_EQ(kernels(second), "second;");
}

}  // namespace
}  // namespace dsaperf::profile
