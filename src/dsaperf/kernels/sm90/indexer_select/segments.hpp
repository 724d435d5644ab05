#pragma once

#include <cstdint>

// A segment is the part of a request that one CTA scores. Its number is request + CTA: along the
// line of tiles one of the two grows from each segment to the next, so no two share a number.
namespace dsaperf::kernels::sm90 {

// An element that may be selected: its score in the order of floats (key_of), its position.
struct alignas(8) KeptElement {
  std::uint32_t key;
  std::uint32_t position;
};

// Elements that a segment has at most when it ends; topk is no larger.
inline constexpr int kMostKept = 4096;

// Of a segment's elements, how many there are, and bounds of their keys.
struct KeptSummary {
  std::uint32_t count;
  std::uint32_t least;
  std::uint32_t largest;
};

// What the scores of decode leave for the selection where they are not written: of each segment,
// the elements that may be among the topk largest of its request.
struct KeptLists {
  KeptElement* elements = nullptr;   // [segments, kMostKept]
  KeptSummary* summaries = nullptr;  // [segments]
  std::int32_t topk = 0;
  std::int32_t most = 0;  // of a segment when it ends, where that is not below topk
};

}  // namespace dsaperf::kernels::sm90
