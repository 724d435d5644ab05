#include "dsaperf/core/text_table.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <limits>
#include <sstream>

namespace dsaperf {
namespace {

using Align = TextTable::Align;

TEST(ShareBarTest, FillsInEighthsAndKeepsItsWidth) {
  EXPECT_EQ(share_bar(0.5, 4), "██  ");
  EXPECT_EQ(share_bar(1.0, 3), "███");
  EXPECT_EQ(share_bar(1.0 / 16, 2), "▏ ");
  for (const double share : {-1.0, 0.0, 0.3, 0.99, 7.0})
    EXPECT_EQ(text_width(share_bar(share, 9)), 9) << share;
}

TEST(ShareBarTest, DrawsNothingForNan) {
  EXPECT_EQ(share_bar(std::numeric_limits<double>::quiet_NaN(), 3), "   ");
}

TEST(TextTableTest, AlignsNumbersRightAndLeavesNoTrailingSpaces) {
  TextTable table({{"stage", Align::kLeft}, {"us", Align::kRight}, {"note", Align::kLeft}});
  table.add_row({"topk", "1.5", ""});
  table.add_row({"attention", "120.0", "bound"});
  table.add_rule();
  table.add_row({"total", "121.5"});
  EXPECT_EQ(table.str({}),
            "stage         us  note\n"
            "───────────────────────\n"
            "topk         1.5\n"
            "attention  120.0  bound\n"
            "───────────────────────\n"
            "total      121.5\n");
}

TEST(TextTableTest, LeavesTitlesOutWhereThereAreNone) {
  TextTable table({{"", Align::kLeft}, {"", Align::kLeft}});
  table.add_row({"layers", "61"});
  EXPECT_EQ(table.str({}), "layers  61\n");
}

TEST(TextTableTest, BreaksLongTextWithoutLosingAnyOfIt) {
  const std::string kernel =
      "void flash::sparse_prefill_kernel<cutlass::bfloat16_t, 576, 512, "
      "flash::PersistentScheduler>(flash::Params)";
  TextTable table({{"kernel", Align::kLeft}, {"calls", Align::kRight}});
  table.add_row({kernel, "12"});
  const std::string text = table.str({.width = 60});

  std::istringstream lines(text);
  std::string joined;
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LE(text_width(line), 60) << line;
    if (line.starts_with("kernel") || line.starts_with("─")) continue;
    const auto number = line.rfind("  12");
    std::string part = number == std::string::npos ? line : line.substr(0, number);
    part.erase(part.find_last_not_of(' ') + 1);
    joined += part;
  }
  const auto without_spaces = [](std::string s) {
    std::erase(s, ' ');
    return s;
  };
  EXPECT_EQ(without_spaces(joined), without_spaces(kernel));
}

TEST(TextTableTest, NeverBreaksANumber) {
  TextTable table({{"a", Align::kRight}, {"b", Align::kRight}});
  table.add_row({std::string(50, '1'), std::string(50, '2')});
  EXPECT_NE(
      table.str({.width = 40}).find(std::string(50, '1') + "  " + std::string(50, '2') + "\n"),
      std::string::npos);
}

TEST(TextTableTest, WritesEscapesOnlyWithColor) {
  TextTable table({{"", Align::kLeft}});
  table.add_row({{"slower", Tone::kBad}});
  EXPECT_EQ(table.str({.width = 80, .color = false}), "slower\n");
  EXPECT_EQ(table.str({.width = 80, .color = true}), "\033[31mslower\033[0m\n");
}

TEST(TextTableTest, TakesBrokenUtf8AsItIs) {
  TextTable table({{"", Align::kLeft}, {"", Align::kLeft}});
  table.add_row({"\xFF\x80\xC3", "x"});
  EXPECT_NE(table.str({}).find("\xFF\x80\xC3"), std::string::npos);
}

TEST(TextStyleTest, HasNoColorAndEightyColumnsWhereThereIsNoTerminal) {
  const auto style = TextStyle::of_descriptor(-1);
  EXPECT_FALSE(style.color);
  EXPECT_EQ(style.width, 80);
}

}  // namespace
}  // namespace dsaperf
