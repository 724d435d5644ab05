#pragma once

#include "dsaperf/report/document_value.hpp"

#include <cmath>
#include <string>
#include <string_view>
#include <vector>

// What the subjects of the report share: tables whose rows name their sources,
// Vega-Lite specifications.
namespace dsaperf::report::integration {

// Null for NaN, so that a table has an empty cell.
Json cell(double value);

// For people: "3.97 ms", "571 us"; "1.2 T"; "q b projection"; "layer.json" of "/tmp/layer.json".
std::string duration(double us);
std::string quantity(double value);
std::string spaced(std::string_view snake_case);
std::string file_name(const std::string& path);

// One subject of the report.
class Section {
 public:
  Section(std::string name, std::string title);

  // A line of text under the title; `source`: where its numbers come from, empty where it has none.
  void say(std::string line, std::string source = {});
  // A line for a shell, and what it is for.
  void command(std::string title, std::string line);
  // `rows`: objects with the keys of `columns` and `source`. Left out where there are no rows.
  struct Column {
    std::string key;
    std::string title;
  };
  void table(std::string name, std::string title, const std::vector<Column>& columns, Json rows);
  // `alt`: what a reader who does not see the picture must know.
  void picture(std::string name, std::string title, std::string alt, Json spec);

  bool empty() const;
  Json json() const;

 private:
  Json json_;
};

// Colour of marks that must be seen on light and dark paper: that of the text.
inline constexpr auto kInk = "currentColor";

// A specification over `rows` as wide as its place; `view` holds mark and encoding, or layers. A
// layer with data of its own and none in them is left out: Vega warns of a scale without extent.
Json picture_of(Json rows, int height, const Json& view);
// {"field": ..., "type": ..., "title": ...}
Json field(std::string_view name, std::string_view type, std::string_view title);
// A scale with room for a label beside the longest mark; the usual one where there is no mark.
Json room_beside(double longest);
// Fields on hover, `source` last.
Json tooltip(const std::vector<Section::Column>& columns);

// The subjects, in the order of the report. Each leaves out what its documents do not give.
Section model_section(const Json& evidence);
Section run_section(const Json& evidence);
Section align_section(const Json& evidence);
Section speed_section(const Json& evidence);
Section memory_section(const Json& evidence);
Section deploy_section(const Json& evidence);
Section accuracy_section(const Json& evidence);
Section collect_section(const Json& evidence);

// The first screen: what it is, is it right, does it align, how fast, what limits, what to deploy.
Json answers(const Json& evidence);

// Whether what ran, or what a reference shows, has every stage that the model's layer has, and
// nothing else.
struct StageList {
  bool known = false;   // there was something to compare
  bool aligned = true;  // none missing, none extra
  std::string against;  // what was compared
  Json rows;            // stage, expected, found, state, source
};
StageList compare_stage_list(const Json& evidence);

// Chosen systems, in the order of the options.
std::vector<std::string> systems_of(const Json& evidence);
// The document of a command; null where it failed or was skipped.
const Json& document_of(const Json& evidence, std::string_view name);

}  // namespace dsaperf::report::integration
