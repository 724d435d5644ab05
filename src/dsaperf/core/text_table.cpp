#include "dsaperf/core/text_table.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace dsaperf {
namespace {

constexpr int kDefaultWidth = 80;
constexpr int kNarrowest = 40;
constexpr int kGap = 2;              // columns between two columns
constexpr int kNarrowestColumn = 8;  // a broken text column keeps at least so much

bool is_continuation(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80U;
}

// Bytes of the first `width` code points of `text`, or all of it.
std::size_t bytes_of_width(std::string_view text, int width) {
  std::size_t end = 0;
  for (int seen = 0; end < text.size(); ++end) {
    if (!is_continuation(text[end]) && ++seen > width) break;
  }
  return end;
}

// Takes one line of at most `width` columns off the front of `text`.
std::string take_line(std::string_view& text, int width) {
  const std::size_t limit = bytes_of_width(text, width);
  std::size_t end = limit;
  if (limit < text.size()) {
    const std::size_t space = text.substr(0, limit + 1).rfind(' ');
    const std::size_t mark = text.substr(0, limit).find_last_of("_:,/.<>()-;");
    if (space != std::string_view::npos && space > 0) {
      end = space;
    } else if (mark != std::string_view::npos && 2 * mark > limit) {
      end = mark + 1;
    }
  }
  std::string line(text.substr(0, end));
  text.remove_prefix(end);
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  return line;
}

std::string_view escape_of(Tone tone) {
  switch (tone) {
    case Tone::kPlain:
      return "";
    case Tone::kStrong:
      return "\033[1m";
    case Tone::kFaint:
      return "\033[2m";
    case Tone::kGood:
      return "\033[32m";
    case Tone::kWarning:
      return "\033[33m";
    case Tone::kBad:
      return "\033[31m";
  }
  return "";
}

void append_rule(std::string& out, const std::vector<int>& widths, const TextStyle& style) {
  int total = 0;
  for (const int width : widths) total += width + kGap;
  std::string rule;
  for (int i = 0; i < total - kGap; ++i) rule += "─";
  out += toned(rule, Tone::kFaint, style) + '\n';
}

}  // namespace

TextStyle TextStyle::of_descriptor(int descriptor) {
  TextStyle style;
  if (isatty(descriptor) == 0) return style;
  winsize size{};
  if (ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    style.width = std::max<int>(size.ws_col, kNarrowest);
  }
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  style.color = (no_color == nullptr || *no_color == '\0') &&
                (term == nullptr || std::strcmp(term, "dumb") != 0);
  return style;
}

std::string toned(std::string_view text, Tone tone, const TextStyle& style) {
  if (!style.color || tone == Tone::kPlain || text.empty()) return std::string(text);
  return std::string(escape_of(tone)) + std::string(text) + "\033[0m";
}

int text_width(std::string_view text) {
  return static_cast<int>(
      std::count_if(text.begin(), text.end(), [](char byte) { return !is_continuation(byte); }));
}

std::string share_bar(double share, int width) {
  static constexpr std::string_view kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  if (!(share > 0)) share = 0;  // NaN too
  const auto eighths = std::lround(std::min(share, 1.0) * 8 * width);
  std::string bar;
  for (long i = 0; i < eighths / 8; ++i) bar += "█";
  bar += kEighths[eighths % 8];
  bar.append(static_cast<std::size_t>(width - text_width(bar)), ' ');
  return bar;
}

TextTable::TextTable(std::vector<Column> columns) : columns_(std::move(columns)) {
}

void TextTable::add_row(std::vector<Cell> cells) {
  cells.resize(columns_.size(), Cell(""));
  rows_.push_back(std::move(cells));
}

void TextTable::add_rule() {
  rows_.emplace_back();
}

// Natural widths; what is too much is taken from the widest text column, again and again.
std::vector<int> TextTable::column_widths(int available) const {
  std::vector<int> widths;
  for (const Column& column : columns_) widths.push_back(text_width(column.title));
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], text_width(row[i].text));
    }
  }
  int total = -kGap;
  for (const int width : widths) total += width + kGap;
  while (total > available) {
    int* widest = nullptr;
    for (std::size_t i = 0; i < widths.size(); ++i) {
      const bool breakable = columns_[i].align == Align::kLeft && widths[i] > kNarrowestColumn;
      if (breakable && (widest == nullptr || widths[i] > *widest)) widest = &widths[i];
    }
    if (widest == nullptr) break;
    --*widest;
    --total;
  }
  return widths;
}

std::string TextTable::str(const TextStyle& style) const {
  const auto widths =
      column_widths(std::max(style.width > 0 ? style.width : kDefaultWidth, kNarrowest));
  std::string out;
  const auto append_row = [&](const std::vector<Cell>& cells) {
    std::vector<std::string_view> rest;
    for (const Cell& cell : cells) rest.emplace_back(cell.text);
    bool more = true;
    while (more) {
      more = false;
      std::string line;
      std::size_t visible_end = 0;  // up to the last cell with text, so that no line ends in spaces
      for (std::size_t i = 0; i < cells.size(); ++i) {
        const bool right = columns_[i].align == Align::kRight;
        std::string text =
            right ? std::string(std::exchange(rest[i], {})) : take_line(rest[i], widths[i]);
        more = more || !rest[i].empty();
        const std::string padding(
            static_cast<std::size_t>(std::max(0, widths[i] - text_width(text))), ' ');
        if (right) line += padding;
        const bool blank = text.find_first_not_of(' ') == std::string::npos;
        if (i + 1 == cells.size()) text.erase(text.find_last_not_of(' ') + 1);
        line += toned(text, cells[i].tone, style);
        if (!blank) visible_end = line.size();
        if (!right) line += padding;
        line.append(kGap, ' ');
      }
      line.resize(visible_end);
      out += line + '\n';
    }
  };

  std::vector<Cell> titles;
  bool any_title = false;
  for (const Column& column : columns_) {
    titles.emplace_back(column.title, Tone::kStrong);
    any_title = any_title || !column.title.empty();
  }
  if (any_title) {
    append_row(titles);
    append_rule(out, widths, style);
  }
  for (const auto& row : rows_) {
    if (row.empty()) {
      append_rule(out, widths, style);
    } else {
      append_row(row);
    }
  }
  return out;
}

}  // namespace dsaperf
