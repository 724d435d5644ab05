#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/model/stage.hpp"
#include "dsaperf/op/cache_manager.hpp"
#include "dsaperf/op/layer_spec.hpp"
#include "dsaperf/op/tensor.hpp"

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace dsaperf::op {

// How a pass is planned, beyond its batch.
struct PassOptions {
  // Contexts that DsaLayer::advance() may reach: tensors, grids and the regime are made for them,
  // so that one recording serves all lengths up to this. 0: the lengths stay as they are.
  std::int64_t longest = 0;
  // Memory for index scores, in f32: a batch that has more is taken in parts. Fails with
  // kInvalidArgument where one token (decode: one request) needs more.
  std::int64_t score_bytes = std::int64_t{256} << 20;
  // Whether the rows of an fp8 cache are brought to bf16 once before attention reads them, into
  // memory of the pass that takes at most as much as scores may; where they do not fit, or where it
  // does not pay, attention reads the cache.
  enum class Bf16Rows { kWhereFaster, kWhereTheyFit, kNever };
  Bf16Rows bf16_rows = Bf16Rows::kWhereFaster;
  // x, and the selection of a layer without an indexer, are zero until the caller writes them into
  // the pass's tensors: for many passes over values that are in the backend's memory already.
  bool inputs_later = false;
};

// One batch on its way through one layer: which tokens, where they go in the caches, and every
// tensor of the stages. Made by DsaLayer::prepare, which also makes room in the caches; running it
// again computes the same. Tensors by name, all packed, tokens first:
//
//   x, y                             [tokens, hidden] bf16
//   x_e4m3, x_scales                 [tokens, widest], a scale per 128: of fp8 projections only; x,
//                                    then v_out
//   qkv_a                            [tokens, LayerSpec::QkvAColumns] bf16: W_qa x, W_ik x, W_kva x
//   q_r                              [tokens, q_lora] bf16, after the norm
//   q_r_e4m3, q_r_scales             [tokens, q_lora], a scale per 128: of fp8 projections only
//   latent, k_rope                   [tokens, 512], [tokens, 64] bf16
//   q, query                         [tokens, heads, nope + 64], [tokens, heads, 576] bf16
//   index_key                        [tokens, 128] bf16, after LayerNorm and rope
//   index_key_e4m3, index_key_scale  [tokens, 128], [tokens]
//   index_query, index_query_e4m3    [tokens, index_heads, 128] bf16, after rope; e4m3
//   head_weight, head_weight_scaled  [tokens, index_heads] f32: W_w x; with q scale and factors
//   selection, selection_rows        [tokens, selected] i32: positions; rows that attention reads
//   latent_out, lse                  [tokens, heads, 512] bf16, [tokens, heads] f32
//   v_out                            [tokens, heads, v] bf16
struct ForwardPass {
  struct Request {
    RequestId request = 0;
    std::int64_t first_token = 0;  // row of the batch
    std::int64_t new_tokens = 0;
    std::int64_t past = 0;  // tokens in the cache before
    std::int64_t context() const { return past + new_tokens; }
  };

  // Requests whose tokens attend in one call: to rows of the cache, or to the tensor
  // bf16_rows_scratch, [rows, 576], which holds what bf16_pages names of the cache then
  // (op/attention_rows.hpp).
  struct AttentionPart {
    std::size_t first_request = 0;
    std::size_t requests = 0;
    std::int64_t first_token = 0;
    std::int64_t tokens = 0;
    bool bf16_rows = false;
    std::int64_t first_page = 0;  // of bf16_pages
    std::int64_t pages = 0;
  };

  LayerSpec spec;
  std::vector<Request> requests;
  std::int64_t tokens = 0;
  std::int64_t longest = 0;     // context that everything is sized for
  bool lengths_change = false;  // advance() is allowed
  bool dense = false;           // every request is at most topk long: no selection
  int selected = 0;             // width of the lists: topk, or the longest context if that is less
  // New tokens of every request if equal and at most 8, else 0: paged scores.
  int uniform_q_len = 0;
  std::vector<model::Stage> stages;  // what runs, in order
  std::vector<AttentionPart> attention_parts;

  // Host copies of what the plan knows, one entry a token.
  std::vector<std::int32_t> position;
  std::vector<std::int32_t> visible;  // keys it may look at, itself included
  std::vector<std::int32_t> request_of;
  std::vector<std::int64_t> slot;
  std::vector<std::int32_t> block_table;  // [requests, block_table_stride]
  std::int64_t block_table_stride = 0;
  // Where a part of attention reads bf16 rows made of an fp8 cache: the pages that they are made
  // of, part after part (-1: beyond the request), and block_table with their places instead.
  std::vector<std::int32_t> bf16_pages;
  std::vector<std::int32_t> row_table;
  std::vector<float> rope_table;  // [tokens, 64]

  std::map<std::string, Tensor, std::less<>> tensors;
  // Scores of these tokens (DsaLayer::keep_scores), as many as each sees: on the host after run().
  std::map<std::int64_t, std::vector<float>> kept_scores;

  // Pages of a request as rows are numbered in selection_rows.
  const std::vector<std::int32_t>& attention_table() const {
    return row_table.empty() ? block_table : row_table;
  }
  const Tensor& at(std::string_view name) const { return tensors.find(name)->second; }
  bool has(std::string_view name) const { return tensors.contains(name); }
};

}  // namespace dsaperf::op
