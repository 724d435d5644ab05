#pragma once

#include "dsaperf/op/backend.hpp"
#include "dsaperf/op/forward_pass.hpp"

namespace dsaperf::op {

// Which tokens of a pass attend together, and to which rows: those of the cache, or those of an fp8
// cache brought to bf16 before, once for all tokens of the part. A prompt's rows are each read by
// hundreds of tokens, and kernels over bf16 rows take half the time.
//
// What is decided follows from the plan's lengths (where they change, from the longest), so that a
// recording serves all of them; the pages follow the cache and are set again when it grows.

// pass.attention_parts, of requests, tokens and longest.
void plan_attention(const Backend& backend, kernels::KvRows::Format cache,
                    const PassOptions& options, ForwardPass& pass);

// Pages of bf16 rows that a part needs at most; 0: none reads them.
std::int64_t bf16_pages_at_once(const ForwardPass& pass);

// pass.bf16_pages and pass.row_table, of block_table; their sizes do not depend on lengths.
void set_attention_pages(ForwardPass& pass);

}  // namespace dsaperf::op
