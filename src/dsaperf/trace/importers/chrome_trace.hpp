#pragma once

#include "dsaperf/core/gzip.hpp"
#include "dsaperf/trace/timeline.hpp"

namespace dsaperf::trace {

// A Chrome trace as torch's profiler (Kineto) writes it on CUDA and ROCm, as object or bare array.
//
// Read event by event. Kernels are complete events ("ph": "X") of the category "kernel", copies and
// fills those of "gpu_memcpy" and "gpu_memset", in any case of letters (torch before 1.12 wrote
// "Kernel"). "ts" and "dur" are microseconds. A GPU and its stream are args.device and args.stream,
// else pid and tid. Where events have no category, as rpd's on ROCm, those of the processes that
// are named GPU0, GPU1, ... are kernels, copies and fills by their names. A GPU event without a
// usable name, time or duration is counted as bad and left out. args.correlation leads to the
// runtime call that launched it, args["External id"] to the framework operator; of nested operators
// the outermost is kept, with its inputs:
//
//   aten::topk float [1,4096,4096] 2048 -1 True True
//
// Ranges are user_annotation events.
Result<Timeline> read_chrome_trace(ByteReader bytes);

}  // namespace dsaperf::trace
