#pragma once

// A segment is the part of a request that one CTA scores. Its number is request + CTA: along the
// line of tiles one of the two grows from each segment to the next, so no two share a number.
namespace dsaperf::kernels::sm90 {

inline constexpr int kScoreBins = 2048;  // in which the scores of a segment are counted

}  // namespace dsaperf::kernels::sm90
