#pragma once

#include <cstdint>

// Stands in for CUDA's header where device code is compiled for the host: a tensor of rows of 128
// bytes, in planes of `plane_bytes`; a box is `box_rows` of them, swizzled by 128 bytes.
struct CUtensorMap {
  const std::uint8_t* base = nullptr;
  std::int64_t rows = 0;  // of a plane
  std::int64_t plane_bytes = 0;
  int box_rows = 0;
};
