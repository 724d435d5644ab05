#pragma once

#include "dsaperf/kernels/sm90/indexer_select/segments.hpp"

#include <cstdint>

// What the scores of decode leave for the selection where they are not written whole: of each
// request, the elements that may be among its topk largest, and how many there are of each size.
namespace dsaperf::kernels::sm90 {

// An element that may be selected: its score in the order of floats (key_of), its position.
struct alignas(8) KeptElement {
  std::uint32_t key;
  std::uint32_t position;
};

struct KeptLists {
  KeptElement* elements = nullptr;      // [requests, stride]; a segment's from its first key on
  std::uint32_t* histograms = nullptr;  // [segments, kScoreBins] (segments.hpp)
  std::uint32_t* counts = nullptr;      // [segments]: elements kept
  std::int64_t stride = 0;
  std::int32_t topk = 0;
};

}  // namespace dsaperf::kernels::sm90
