#include "dsaperf/core/file.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/fail.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <system_error>

namespace dsaperf {
namespace {

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

Result<File> open_for_reading(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    return fail(Errc::kInvalidArgument, "is a folder, not a file");
  }
  File file(std::fopen(path.c_str(), "rb"));
  if (!file) {
    if (errno == ENOENT || errno == ENOTDIR) return fail(Errc::kNotFound, "no such file");
    return fail(Errc::kIo, "cannot be opened: {}", std::strerror(errno));
  }
  return file;
}

Result<std::string> read_all(std::FILE* file, Bytes limit) {
  std::string content;
  std::array<char, 1 << 16> buffer;
  while (const std::size_t read = std::fread(buffer.data(), 1, buffer.size(), file)) {
    content.append(buffer.data(), read);
    if (static_cast<std::int64_t>(content.size()) > limit.value) {
      return fail(Errc::kUnsupported, "more than {} bytes, the limit for this kind of file",
                  limit.value);
    }
  }
  if (std::ferror(file) != 0) return fail(Errc::kIo, "cannot be read: {}", std::strerror(errno));
  return content;
}

Result<std::string> read_checked(const std::filesystem::path& path, Bytes limit) {
  DSAPERF_TRY_ASSIGN(const auto file, open_for_reading(path));
  std::error_code unknown;  // a pipe has no size
  const auto size = std::filesystem::file_size(path, unknown);
  if (!unknown && size > static_cast<std::uintmax_t>(limit.value)) {
    return fail(Errc::kUnsupported, "{} bytes, more than the {} allowed for this kind of file",
                size, limit.value);
  }
  DSAPERF_TRY_ASSIGN(auto content, read_all(file.get(), limit));
  DSAPERF_TRY(check_content(content));
  return content;
}

Result<void> check_start(const std::filesystem::path& path) {
  DSAPERF_TRY_ASSIGN(const auto file, open_for_reading(path));
  std::array<char, 512> start;
  const std::size_t read = std::fread(start.data(), 1, start.size(), file.get());
  if (std::ferror(file.get()) != 0) {
    return fail(Errc::kIo, "cannot be read: {}", std::strerror(errno));
  }
  return check_content({start.data(), read});
}

bool starts_with_ignoring_case(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() &&
         std::equal(prefix.begin(), prefix.end(), text.begin(), [](char wanted, char found) {
           return wanted == (found >= 'A' && found <= 'Z' ? found - 'A' + 'a' : found);
         });
}

// What is no file on a disk (/dev/null, a pipe) has no content to keep and nothing to rename over.
Result<void> write_in_place(const std::filesystem::path& path, std::string_view content) {
  File file(std::fopen(path.c_str(), "wb"));
  const bool written =
      file && std::fwrite(content.data(), 1, content.size(), file.get()) == content.size() &&
      std::fflush(file.get()) == 0;
  if (!written) return fail(Errc::kIo, "cannot be written: {}", std::strerror(errno));
  return {};
}

// What `path` leads to where that is a descriptor of this process: /dev/stdout, /dev/fd/3, a link
// to them. Behind such a path may be a file, of which the shell holds the descriptor: renamed over,
// it would lose what others write there.
std::optional<int> descriptor_behind(const std::filesystem::path& written) {
  constexpr int kMostLinks = 40;  // as many as the kernel follows
  std::error_code error;
  auto path = std::filesystem::absolute(written, error);
  const auto descriptors = std::filesystem::canonical("/proc/self/fd", error);
  for (int i = 0; !error && i < kMostLinks; ++i) {
    const auto folder = std::filesystem::canonical(path.parent_path(), error);
    if (folder == descriptors) {
      const auto number = parse_int(path.filename().native());
      return number ? std::optional(static_cast<int>(*number)) : std::nullopt;
    }
    if (!std::filesystem::is_symlink(path, error)) break;
    path = folder / std::filesystem::read_symlink(path, error);
  }
  return std::nullopt;
}

Result<void> write_into(int descriptor, std::string_view content) {
  bool written = std::fflush(stdout) == 0;
  while (written && !content.empty()) {
    const auto count = ::write(descriptor, content.data(), content.size());
    if (count > 0) content.remove_prefix(static_cast<std::size_t>(count));
    written = count > 0 || (count < 0 && errno == EINTR);
  }
  if (!written) return fail(Errc::kIo, "cannot be written: {}", std::strerror(errno));
  return {};
}

Result<void> write_renamed(const std::filesystem::path& path, std::string_view content) {
  std::error_code error;
  // The process id keeps two writers of one target apart.
  auto temporary = path;
  temporary += "." + std::to_string(::getpid()) + ".part";
  const auto give_up = [&](int reason) {
    std::filesystem::remove(temporary, error);
    return fail(Errc::kIo, "cannot be written: {}", std::strerror(reason));
  };
  File file(std::fopen(temporary.c_str(), "wb"));
  if (!file) return give_up(errno);
  if (std::fwrite(content.data(), 1, content.size(), file.get()) != content.size()) {
    return give_up(errno);
  }
  if (std::fclose(file.release()) != 0) return give_up(errno);
  if (std::rename(temporary.c_str(), path.c_str()) != 0) return give_up(errno);
  return {};
}

Result<void> write_whole(const std::filesystem::path& path, std::string_view content) {
  if (const auto descriptor = descriptor_behind(path)) return write_into(*descriptor, content);
  std::error_code error;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);
  if (error) {
    return fail(Errc::kIo, "folder {} cannot be made: {}", path.parent_path().native(),
                error.message());
  }
  const auto there = std::filesystem::status(path, error);
  if (std::filesystem::is_directory(there))
    return fail(Errc::kIo, "cannot be written: it is a folder");
  if (std::filesystem::is_other(there)) return write_in_place(path, content);
  if (!std::filesystem::is_symlink(path, error)) return write_renamed(path, content);
  const auto target = std::filesystem::canonical(path, error);  // a link stays one
  return write_renamed(error ? path : target, content);
}

auto about(const std::filesystem::path& path) {
  return [&path](Error error) { return std::move(error).with_context(path.native()); };
}

}  // namespace

Result<std::string> read_file(const std::filesystem::path& path, Bytes limit) {
  return read_checked(path, limit).map_error(about(path));
}

Result<std::string> read_stdin(Bytes limit) {
  const auto checked = [&]() -> Result<std::string> {
    DSAPERF_TRY_ASSIGN(auto content, read_all(stdin, limit));
    DSAPERF_TRY(check_content(content));
    return content;
  };
  return checked().map_error(
      [](Error error) { return std::move(error).with_context("standard input"); });
}

Result<void> check_data_file(const std::filesystem::path& path) {
  return check_start(path).map_error(about(path));
}

Result<void> check_content(std::string_view start) {
  if (start.empty()) return fail(Errc::kParse, "empty file");
  if (start.starts_with("version https://git-lfs")) {
    return fail(Errc::kParse,
                "this is a git-lfs pointer, not the data: run `git lfs pull` where it came from");
  }
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (start.starts_with(kByteOrderMark)) start.remove_prefix(kByteOrderMark.size());
  start.remove_prefix(std::min(start.find_first_not_of(" \t\r\n"), start.size()));
  if (starts_with_ignoring_case(start, "<!doctype html") ||
      starts_with_ignoring_case(start, "<html")) {
    return fail(Errc::kParse,
                "this is an HTML page, not the data: the download link led to a web page");
  }
  return {};
}

Result<void> write_file(const std::filesystem::path& path, std::string_view content) {
  return write_whole(path, content).map_error(about(path));
}

}  // namespace dsaperf
