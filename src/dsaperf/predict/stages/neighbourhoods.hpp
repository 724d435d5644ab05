#pragma once

#include "dsaperf/predict/stages/nearest_process.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

namespace dsaperf::predict::stages {

// The posterior of a process anywhere, fast: space is cut into leaves of some observations each
// (halves along the widest axis, in lengths), and a leaf is answered from the observations nearest
// to its centre, whose covariance is inverted once, when the leaf is first asked for (about 100
// us). Then a question costs about half a microsecond. Not safe to use from several threads.
class Neighbourhoods {
 public:
  static constexpr std::size_t kMost = 64;  // observations a leaf is answered from
  static constexpr std::size_t kLeaf = 24;

  explicit Neighbourhoods(const NearestProcess& process);

  Posterior at(const NearestProcess& process, const Coordinates& point) const;

  // The mean in its parts: what is smooth, and what belongs to the point's own value of each axis.
  struct MeanParts {
    double smooth = 0;
    std::array<double, kStepAxes> step{};
  };
  MeanParts mean_parts(const NearestProcess& process, const Coordinates& point) const;

 private:
  struct Node {
    std::uint32_t axis = 0;
    double split = 0;            // below it: the left child
    std::uint32_t children = 0;  // the first of two; 0: a leaf
    std::uint32_t leaf = 0;
  };
  struct Leaf;
  struct LeafDeleter {
    void operator()(Leaf* leaf) const;
  };
  using LeafPointer = std::unique_ptr<Leaf, LeafDeleter>;

  void divide(const NearestProcess& process, std::uint32_t node, std::uint32_t* begin,
              std::uint32_t* end);
  const Leaf& leaf_of(const NearestProcess& process, const Coordinates& scaled) const;

  std::vector<Node> nodes_;
  std::vector<Coordinates> centres_;  // of leaves, in lengths
  std::array<double, kStepAxes> step_squared_{};
  std::size_t axes_ = 0;  // coordinates that have a length
  mutable std::vector<LeafPointer> leaves_;
};

}  // namespace dsaperf::predict::stages
