#pragma once

#include "dsaperf/core/units.hpp"
#include "dsaperf/predict/layer_query.hpp"
#include "dsaperf/predict/stages/setting.hpp"

#include <string>
#include <vector>

namespace dsaperf::predict::stages {

// How an answer came about, for people.
struct Explanation {
  struct Share {
    std::string stage;  // a stage's name; "launches": gaps between kernels, "host": waiting for it
    Micros time;        // its part of the answer, never below its bound; parts add up to the answer
    Micros bound;       // arithmetic at peak rates or bytes at peak bandwidth
    std::string binds;  // "math", "memory"; empty: no bound
  };
  struct Neighbour {
    LayerShape shape;
    Micros measured;
    double distance = 0;  // in length scales
  };
  std::string kernel_source;
  std::string regime;
  std::string version;           // of the rows that answered
  std::string moved;             // how the question differs from the rows; empty: it does not
  std::string defects;           // what lint finds in them
  Micros stage_model;            // before the correction by what was measured near it
  Micros host_time;              // of a layer's launches where they are not replayed
  double relative_variance = 0;  // 0: measured here, 1: nothing near
  std::vector<Share> stages;
  std::vector<Neighbour> nearest;
};

struct LoadedPart;
struct Moved;

// An answer, and what it came of.
struct Answered {
  const LoadedPart& rows;
  const Moved* moved = nullptr;  // nullptr: the question is about just such layers
  const LayerShape& shape;
  Sizes sizes;
  double ms = 0;
};
// All but `version`, which the part does not know.
Explanation explained(const Answered& answered);

}  // namespace dsaperf::predict::stages
