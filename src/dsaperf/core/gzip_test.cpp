#include "dsaperf/core/gzip.hpp"

#include <gtest/gtest.h>

#include <array>
#include <fstream>
#include <string>

namespace dsaperf {
namespace {

std::string varied_text(int lines) {
  std::string text;
  for (int i = 0; i < lines; ++i) text += std::to_string(i * 7919 % 10007) + ",";
  return text;
}

TEST(GzipTest, ReadsBackWhatItWrote) {
  const std::string text = varied_text(200000);  // longer than one chunk
  EXPECT_EQ(gunzip(gzip(text)).value(), text);
  EXPECT_EQ(gunzip(gzip("")).value(), "");
}

TEST(GzipTest, EqualBytesGiveEqualFiles) {
  EXPECT_EQ(gzip("same"), gzip("same"));
}

TEST(GzipTest, PlainBytesPassThrough) {
  EXPECT_EQ(gunzip("{\"a\": 1}").value(), "{\"a\": 1}");
  EXPECT_EQ(gunzip("").value(), "");
}

TEST(GzipTest, TruncationAnywhereIsAnError) {
  const std::string packed = gzip(varied_text(1000));
  for (const std::size_t size :
       {std::size_t{3}, std::size_t{9}, packed.size() / 2, packed.size() - 8, packed.size() - 1}) {
    const auto result = gunzip(std::string_view(packed).substr(0, size));
    ASSERT_FALSE(result) << size;
    EXPECT_EQ(result.error().code(), Errc::kParse);
    EXPECT_NE(result.error().message().find("truncated gzip"), std::string::npos);
  }
}

TEST(GzipTest, DamageIsAnError) {
  std::string packed = gzip(varied_text(1000));
  packed[packed.size() / 2] = static_cast<char>(~packed[packed.size() / 2]);
  const auto result = gunzip(packed);
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message().find("damaged gzip"), std::string::npos);
}

TEST(GzipTest, MembersInARowAreOneStream) {
  EXPECT_EQ(gunzip(gzip("one ") + gzip("") + gzip("two")).value(), "one two");
  EXPECT_EQ(gunzip(gzip("padded") + std::string(512, '\0')).value(), "padded");
  EXPECT_FALSE(gunzip(gzip("one") + "rubbish"));
}

TEST(GzipTest, RefusesMoreThanTheLimit) {
  const auto result = gunzip(gzip(std::string(1 << 20, 'x')), 1000);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Errc::kUnsupported);
}

TEST(ByteReaderTest, ReadsInPiecesOfAnySize) {
  const std::string text = varied_text(5000);
  const std::string packed = gzip(text);
  auto reader = ByteReader::over(packed).value();
  EXPECT_TRUE(reader.is_gzip());
  std::string whole;
  std::array<char, 7> piece{};
  while (const std::size_t got = reader.read(piece).value()) whole.append(piece.data(), got);
  EXPECT_EQ(whole, text);
}

TEST(ByteReaderTest, FilesAreToldByMagicNotByName) {
  const auto path = std::filesystem::path(testing::TempDir()) / "not_gzip.json.gz";
  std::ofstream(path) << "{}";
  EXPECT_EQ(read_maybe_gzip(path).value(), "{}");
  ASSERT_TRUE(write_gzip(path, "packed"));
  EXPECT_EQ(read_maybe_gzip(path).value(), "packed");
}

TEST(ByteReaderTest, ErrorsNameTheFile) {
  const auto missing = ByteReader::open("/nonexistent/trace.json");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code(), Errc::kNotFound);
  EXPECT_EQ(missing.error().message(), "/nonexistent/trace.json: No such file or directory");
  EXPECT_FALSE(ByteReader::open(testing::TempDir()));
  EXPECT_EQ(write_gzip(testing::TempDir(), "x").error().message(),
            testing::TempDir() + ": cannot be written: it is a folder");
}

}  // namespace
}  // namespace dsaperf
