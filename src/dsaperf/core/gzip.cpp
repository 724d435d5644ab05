#include "dsaperf/core/gzip.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <utility>
#include <vector>

namespace dsaperf {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 18;
constexpr int kGzipWindow = 15 + 16;  // largest window, gzip header and trailer only

struct CloseOpened {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using OpenedFile = std::unique_ptr<std::FILE, CloseOpened>;

bool has_gzip_magic(std::string_view bytes) {
  return bytes.size() >= 2 && bytes[0] == '\x1f' && bytes[1] == '\x8b';
}

}  // namespace

struct ByteReader::Source {
  std::string name;  // of the file, for messages; empty for memory
  OpenedFile file;   // null for memory
  std::vector<char> storage;
  std::string_view pending;  // bytes at hand, not yet consumed
  bool gzip = false;
  bool between_members = false;
  bool at_end = false;
  z_stream stream{};

  Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;
  ~Source() {
    if (gzip) inflateEnd(&stream);
  }

  // Makes `pending` hold something unless the source is exhausted.
  Result<void> refill() {
    if (!pending.empty() || !file) return {};
    const std::size_t got = std::fread(storage.data(), 1, storage.size(), file.get());
    if (got == 0 && std::ferror(file.get())) {
      return fail(Errc::kIo, "{}: {}", name, std::strerror(errno));
    }
    pending = {storage.data(), got};
    return {};
  }

  Result<void> start() {
    DSAPERF_TRY(refill());
    if (!has_gzip_magic(pending)) return {};
    if (inflateInit2(&stream, kGzipWindow) != Z_OK) {
      return fail(Errc::kOutOfMemory, "no memory to decompress");
    }
    gzip = true;
    return {};
  }

  std::string prefix() const { return name.empty() ? std::string() : name + ": "; }

  Result<std::size_t> read_plain(std::span<char> buffer) {
    DSAPERF_TRY(refill());
    const std::size_t count = std::min(buffer.size(), pending.size());
    std::copy_n(pending.data(), count, buffer.data());
    pending.remove_prefix(count);
    return count;
  }

  // After a member: another member, zero padding, or the end.
  Result<bool> next_member() {
    while (true) {
      DSAPERF_TRY(refill());
      if (pending.empty()) return false;
      if (pending.front() != '\0') break;
      pending.remove_prefix(1);
    }
    if (pending.front() != '\x1f') {
      return fail(Errc::kParse, "{}bytes that are not gzip follow the compressed data", prefix());
    }
    inflateReset(&stream);
    return true;
  }

  Result<std::size_t> read_gzip(std::span<char> buffer) {
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream.avail_out = static_cast<uInt>(std::min(buffer.size(), std::size_t{1} << 30));
    const uInt wanted = stream.avail_out;
    while (stream.avail_out == wanted && !at_end) {
      if (between_members) {
        DSAPERF_TRY_ASSIGN(const bool another, next_member());
        between_members = false;
        if (!another) {
          at_end = true;
          break;
        }
      }
      DSAPERF_TRY(refill());
      if (pending.empty()) {
        return fail(Errc::kParse, "{}truncated gzip: the compressed data ends before its trailer",
                    prefix());
      }
      const auto offered = std::min(pending.size(), std::size_t{1} << 30);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(pending.data()));
      stream.avail_in = static_cast<uInt>(offered);
      const int status = inflate(&stream, Z_NO_FLUSH);
      pending.remove_prefix(offered - stream.avail_in);
      if (status == Z_STREAM_END) {
        between_members = true;
      } else if (status != Z_OK && status != Z_BUF_ERROR) {
        return fail(Errc::kParse, "{}damaged gzip: {}", prefix(),
                    stream.msg != nullptr ? stream.msg : zError(status));
      }
    }
    return wanted - stream.avail_out;
  }
};

ByteReader::ByteReader(std::unique_ptr<Source> source) : source_(std::move(source)) {
}
ByteReader::ByteReader(ByteReader&&) noexcept = default;
ByteReader& ByteReader::operator=(ByteReader&&) noexcept = default;
ByteReader::~ByteReader() = default;

Result<ByteReader> ByteReader::open(const std::filesystem::path& path) {
  auto source = std::make_unique<Source>();
  source->name = path.native();
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    return fail(Errc::kIo, "{}: is a folder, not a file", path.native());
  }
  source->file.reset(std::fopen(path.c_str(), "rb"));
  if (!source->file) {
    return fail(errno == ENOENT ? Errc::kNotFound : Errc::kIo, "{}: {}", path.native(),
                std::strerror(errno));
  }
  source->storage.resize(kBufferBytes);
  DSAPERF_TRY(source->start());
  return ByteReader(std::move(source));
}

Result<ByteReader> ByteReader::over(std::string_view bytes) {
  auto source = std::make_unique<Source>();
  source->pending = bytes;
  DSAPERF_TRY(source->start());
  return ByteReader(std::move(source));
}

Result<std::size_t> ByteReader::read(std::span<char> buffer) {
  if (buffer.empty()) return 0;
  return source_->gzip ? source_->read_gzip(buffer) : source_->read_plain(buffer);
}

bool ByteReader::is_gzip() const {
  return source_->gzip;
}

namespace {

Result<std::string> read_all(ByteReader reader, std::string_view name, std::size_t limit) {
  std::string whole;
  std::vector<char> buffer(kBufferBytes);
  while (true) {
    DSAPERF_TRY_ASSIGN(const std::size_t got, reader.read(buffer));
    if (got == 0) return whole;
    if (got > limit - whole.size()) {
      return fail(Errc::kUnsupported, "{}{}more than {} bytes", name, name.empty() ? "" : ": ",
                  limit);
    }
    whole.append(buffer.data(), got);
  }
}

}  // namespace

Result<std::string> read_maybe_gzip(const std::filesystem::path& path, std::size_t limit) {
  DSAPERF_TRY_ASSIGN(auto reader, ByteReader::open(path));
  return read_all(std::move(reader), path.native(), limit);
}

Result<std::string> gunzip(std::string_view bytes, std::size_t limit) {
  DSAPERF_TRY_ASSIGN(auto reader, ByteReader::over(bytes));
  return read_all(std::move(reader), "", limit);
}

std::string gzip(std::string_view bytes) {
  z_stream stream{};
  // Cannot fail but for memory, which the standard library would report by an exception as well.
  if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzipWindow, 8,
                   Z_DEFAULT_STRATEGY) != Z_OK) {
    throw std::bad_alloc();
  }
  std::string packed;
  std::vector<char> buffer(kBufferBytes);
  int status = Z_OK;
  do {
    if (stream.avail_in == 0 && !bytes.empty()) {
      const auto offered = std::min(bytes.size(), std::size_t{1} << 30);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
      stream.avail_in = static_cast<uInt>(offered);
      bytes.remove_prefix(offered);
    }
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream.avail_out = static_cast<uInt>(buffer.size());
    status = deflate(&stream, bytes.empty() ? Z_FINISH : Z_NO_FLUSH);
    packed.append(buffer.data(), buffer.size() - stream.avail_out);
  } while (status != Z_STREAM_END);
  deflateEnd(&stream);
  return packed;
}

Result<void> write_gzip(const std::filesystem::path& path, std::string_view bytes) {
  return write_file(path, gzip(bytes));
}

}  // namespace dsaperf
