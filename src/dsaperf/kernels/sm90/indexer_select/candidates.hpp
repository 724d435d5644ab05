#pragma once

#include <cstdint>

// What the scores of decode leave for the selection where they are not written whole: of each
// request, the elements that may be among its topk largest, and how many there are of each size.
namespace dsaperf::kernels::sm90 {

// An element that may be selected: its score in the order of floats (key_of), its position.
struct alignas(8) KeptElement {
  std::uint32_t key;
  std::uint32_t position;
};

inline constexpr int kKeptBins = 2048;

// A segment is the part of a request that one CTA scores. Its number is request + CTA: along the
// line of tiles one of the two grows from each segment to the next, so no two share a number.
struct KeptLists {
  KeptElement* elements = nullptr;      // [requests, stride]; a segment's from its first key on
  std::uint32_t* histograms = nullptr;  // [segments, kKeptBins]
  std::uint32_t* counts = nullptr;      // [segments]: elements kept
  std::int64_t stride = 0;
  std::int32_t topk = 0;
};

}  // namespace dsaperf::kernels::sm90
