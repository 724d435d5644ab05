#pragma once

#include <string>
#include <vector>

namespace dsaperf::report {

// Points of one letter in a plot.
struct PlotSeries {
  std::string name;  // in the legend
  std::vector<double> x;
  std::vector<double> y;
};

struct PlotOptions {
  std::string x_label;
  std::string y_label;
  int width = 80;   // columns in all
  int height = 16;  // lines of the frame's inside
};

// A scatter plot in text, both axes logarithmic: series are letters from A on, a '*' where several
// fall on one place. Points that are not positive and finite have no place and are left out; empty
// where none is left. Above 26 series the letters repeat.
//
//   latency, ms
//     1.2 |                    A
//         |        A     B
//     0.1 |  A  B
//         +----------------------
//          1024            65536   past tokens
//   A heads 16   B heads 8
std::string text_plot(const std::vector<PlotSeries>& series, const PlotOptions& options);

}  // namespace dsaperf::report
