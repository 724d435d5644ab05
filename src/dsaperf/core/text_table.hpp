#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dsaperf {

// What the reader's screen can show. Tables are laid out for `width` columns; a width below 40 is
// taken as 40. Without `color` no escape sequence is written.
struct TextStyle {
  int width = 80;
  bool color = false;

  // The style of a file descriptor: colour only on a terminal, unless NO_COLOR is set (to anything
  // but the empty string) or TERM is "dumb"; the terminal's width, and 80 where there is none.
  static TextStyle of_descriptor(int descriptor);
};

enum class Tone { kPlain, kStrong, kFaint, kGood, kWarning, kBad };

// `text` in the colour of its tone, or as it is where the style has no colour.
std::string toned(std::string_view text, Tone tone, const TextStyle& style);

// Columns that `text` takes on a terminal: one for each code point. Bytes that are no UTF-8 count
// one.
int text_width(std::string_view text);

// A bar of `width` columns, filled from the left in steps of an eighth: share_bar(0.5, 4) is "██ ".
// A share outside 0 ... 1 is clamped, NaN is an empty bar.
std::string share_bar(double share, int width);

// A table in plain text: titles, a rule, rows. Numbers are right-aligned and never broken; text is
// left-aligned and broken over lines (at spaces and after punctuation first) where the table is
// wider than the style allows, so that nothing is lost. Only if the numbers alone are too wide does
// a line exceed it.
class TextTable {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kLeft;
  };
  struct Cell {
    // NOLINTBEGIN(google-explicit-constructor): rows are written as lists of words
    Cell(std::string cell_text, Tone cell_tone = Tone::kPlain)
        : text(std::move(cell_text)), tone(cell_tone) {}
    Cell(const char* cell_text) : text(cell_text) {}
    // NOLINTEND(google-explicit-constructor)

    std::string text;
    Tone tone = Tone::kPlain;
  };

  explicit TextTable(std::vector<Column> columns);

  // Cells beyond the columns are dropped; missing ones are empty.
  void add_row(std::vector<Cell> cells);
  // A rule before the next row, for a total.
  void add_rule();

  bool empty() const { return rows_.empty(); }

  // Each line ends with a newline and has no trailing spaces.
  std::string str(const TextStyle& style) const;

 private:
  std::vector<int> column_widths(int available) const;

  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;  // an empty row is a rule
};

}  // namespace dsaperf
