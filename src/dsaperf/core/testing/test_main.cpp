// main() of every test program. ::testing::TempDir() is a folder of the process's own there, gone
// at its end: tests run side by side, from two checkouts at once too, and files of one name must
// not meet.

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  std::string folder = ::testing::TempDir() + "dsaperf_test_XXXXXX";
  if (mkdtemp(folder.data()) == nullptr) {
    std::perror(folder.c_str());
    return 1;
  }
  setenv("TEST_TMPDIR", folder.c_str(), 1);
  const int result = RUN_ALL_TESTS();
  // Not at exit: a child that a test forked leaves through exit(), and the folder is its parent's.
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  return result;
}
