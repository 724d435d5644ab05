#include "dsaperf/op/attention_rows.hpp"

#include "dsaperf/core/ceil_div.hpp"
#include "dsaperf/kernels/layout.hpp"

#include <algorithm>

namespace dsaperf::op {
namespace {

using kernels::kPageTokens;
using Part = ForwardPass::AttentionPart;

std::int64_t pages_of(std::int64_t tokens) {
  return ceil_div(tokens, kPageTokens);
}

// Of a request, at the longest that the plan allows; nobody reads those of one without new tokens.
std::int64_t planned_pages(const ForwardPass& pass, const ForwardPass::Request& request) {
  if (request.new_tokens == 0) return 0;
  return pages_of(pass.lengths_change ? pass.longest : request.context());
}

// Entries of the lists of a request's tokens.
std::int64_t planned_entries(const ForwardPass& pass, const ForwardPass::Request& request) {
  if (pass.lengths_change) return request.new_tokens * pass.selected;
  std::int64_t entries = 0;
  for (std::int64_t t = 0; t < request.new_tokens; ++t)
    entries += std::min(pass.visible[request.first_token + t], pass.selected);
  return entries;
}

}  // namespace

void plan_attention(const Backend& backend, kernels::KvRows::Format cache,
                    const PassOptions& options, ForwardPass& pass) {
  const std::int64_t most_pages =
      options.score_bytes / (std::int64_t{kPageTokens} * kernels::kKvRowBytesBf16);
  const auto reads_bf16 = [&](std::int64_t tokens, std::int64_t entries, std::int64_t pages) {
    if (cache != kernels::KvRows::Format::kFp8 || tokens == 0 || pages > most_pages) return false;
    if (options.bf16_rows == PassOptions::Bf16Rows::kWhereTheyFit) return true;
    return options.bf16_rows == PassOptions::Bf16Rows::kWhereFaster &&
           backend.attends_faster_to_bf16(tokens, entries, pages * kPageTokens);
  };

  Part whole{.requests = pass.requests.size(), .tokens = pass.tokens};
  std::int64_t entries = 0;
  for (const auto& request : pass.requests) {
    whole.pages += planned_pages(pass, request);
    entries += planned_entries(pass, request);
  }
  whole.bf16_rows = reads_bf16(whole.tokens, entries, whole.pages);
  if (whole.bf16_rows) {
    pass.attention_parts = {whole};
    return;
  }
  // Each request for itself, neighbours together.
  pass.attention_parts.clear();
  std::int64_t first_page = 0;
  for (std::size_t r = 0; r < pass.requests.size(); ++r) {
    const auto& request = pass.requests[r];
    // One without new tokens reads nothing, and parts no neighbours.
    const bool joins = request.new_tokens == 0 && !pass.attention_parts.empty();
    const bool bf16 = joins ? pass.attention_parts.back().bf16_rows
                            : reads_bf16(request.new_tokens, planned_entries(pass, request),
                                         planned_pages(pass, request));
    const std::int64_t pages = bf16 ? planned_pages(pass, request) : 0;
    if (pass.attention_parts.empty() || pass.attention_parts.back().bf16_rows != bf16 ||
        pass.attention_parts.back().pages + pages > most_pages)
      pass.attention_parts.push_back({.first_request = r,
                                      .first_token = request.first_token,
                                      .bf16_rows = bf16,
                                      .first_page = first_page});
    Part& part = pass.attention_parts.back();
    ++part.requests;
    part.tokens += request.new_tokens;
    part.pages += pages;
    first_page += pages;
  }
}

std::int64_t bf16_pages_at_once(const ForwardPass& pass) {
  std::int64_t pages = 0;
  for (const Part& part : pass.attention_parts)
    if (part.bf16_rows) pages = std::max(pages, part.pages);
  return pages;
}

void set_attention_pages(ForwardPass& pass) {
  if (bf16_pages_at_once(pass) == 0) return;
  pass.bf16_pages.clear();
  pass.row_table.resize(pass.block_table.size());
  for (const Part& part : pass.attention_parts) {
    if (!part.bf16_rows) {  // read where the cache has them
      const auto begin = static_cast<std::ptrdiff_t>(part.first_request) * pass.block_table_stride;
      std::copy_n(pass.block_table.begin() + begin, part.requests * pass.block_table_stride,
                  pass.row_table.begin() + begin);
      continue;
    }
    std::int32_t place = 0;  // parts follow each other in the same memory
    for (std::size_t r = part.first_request; r < part.first_request + part.requests; ++r) {
      const auto& request = pass.requests[r];
      const std::int64_t there = pages_of(request.context());
      const std::int64_t row = static_cast<std::int64_t>(r) * pass.block_table_stride;
      for (std::int64_t p = 0; p < planned_pages(pass, request); ++p) {
        pass.bf16_pages.push_back(p < there ? pass.block_table[row + p] : -1);
        pass.row_table[row + p] = place++;
      }
    }
  }
}

}  // namespace dsaperf::op
