#pragma once

#include "dsaperf/collect/journal.hpp"

#include <string>

namespace dsaperf::collect {

// The one-line-a-case CSV that practitioners exchange:
//   framework,version,device,op_name,kernel_source,dsa_dtype,num_heads,index_n_heads,index_topk,
//   batch_size,isl,tp_size,step,latency
//   TRTLLM,1.2.0rc5,NVIDIA H20-3e,dsa_context,default,bfloat16,128,64,2048,1,4096,1,0,40.77
// Context: isl = new tokens, step = cached tokens. Generation: isl = tokens in the cache, step = 1.
// latency in ms, warm median; layers that share a selection are dsa_context_skip_indexer and
// dsa_generation_skip_indexer. Ragged batches, q_len > 1 and scores that are not model-like have no
// line: the format can't say them. Nor can it say how passes were launched and in what format
// projections are: of collections that have both, the lines are graph replay and fp8_block.
struct MethodCsv {
  std::string text;
  std::size_t rows = 0;
  std::size_t left_out = 0;  // cases that the format can't express
};
MethodCsv method_csv(const JournalHeader& header, const std::map<std::string, Entry>& entries,
                     const model::LayerPlan& layer);

}  // namespace dsaperf::collect
