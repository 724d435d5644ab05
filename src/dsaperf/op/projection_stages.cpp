// The projections of a layer, and the norms and rope between them.
#include "dsaperf/op/stage_runner.hpp"

namespace dsaperf::op {

using kernels::kKeyDim;
using kernels::kLatentDim;
using kernels::kRopeDim;

kernels::QuantiseGroupsParams StageRunner::quantised(const Tensor& x, std::int64_t columns,
                                                     const Quantised& into) {
  if (!pass_.has(into.values)) return {};
  return {.x = x.buffer.data(),
          .values = pass_.at(into.values).e4m3(),
          .scales = pass_.at(into.scales).f32(),
          .rows = n_,
          .dim = static_cast<int>(columns),
          .x_stride = columns,
          .values_stride = columns,
          .scales_stride = scale_groups(columns)};
}

Result<void> StageRunner::quantise(const Tensor& x, std::int64_t columns) {
  const auto params = quantised(x, columns, kOfX);
  return params.values == nullptr ? Result<void>() : backend_.quantise_groups(params);
}

Result<void> StageRunner::project(const Tensor& x, const DsaLayer::Projection& w, const Tensor& y,
                                  const Quantised& quantised_x) {
  if (w.fp8.data() != nullptr && y.type == DType::kBf16)
    return backend_.fp8_gemm({.x = pass_.at(quantised_x.values).e4m3(),
                              .x_scales = pass_.at(quantised_x.scales).f32(),
                              .w = w.fp8.as<std::uint8_t>(),
                              .w_scales = w.scales.as<float>(),
                              .y = y.buffer.data(),
                              .m = n_,
                              .n = w.rows,
                              .k = w.columns,
                              .x_stride = w.columns,
                              .x_scales_stride = scale_groups(w.columns),
                              .w_stride = w.columns,
                              .w_scales_stride = scale_groups(w.columns),
                              .y_stride = w.rows});
  return backend_.gemm(
      {.x = x.buffer.data(),
       .w = w.bf16.data(),
       .y = y.buffer.data(),
       .m = n_,
       .n = w.rows,
       .k = w.columns,
       .x_stride = w.columns,
       .w_stride = w.columns,
       .y_stride = w.rows,
       .output = y.type == DType::kF32 ? kernels::GemmOutput::kF32 : kernels::GemmOutput::kBf16});
}

Result<void> StageRunner::qkv_a_projection() {
  const Tensor& x = pass_.at("x");
  DSAPERF_TRY(quantise(x, spec_.hidden));
  DSAPERF_TRY(project(x, layer_.qkv_a_, pass_.at("qkv_a")));
  if (pass_.has("head_weight")) DSAPERF_TRY(project(x, layer_.iw_, pass_.at("head_weight")));
  return {};
}

kernels::RopeParams StageRunner::rope(std::uint16_t* x, int heads, std::int64_t head_stride,
                                      kernels::RopePairs pairs) {
  return {.x = x,
          .cos_sin = pass_.at("rope_table").f32(),
          .positions = pass_.at("rope_row").i32(),
          .tokens = n_,
          .table_rows = n_,
          .heads = heads,
          .dim = kRopeDim,
          .token_stride = heads * head_stride,
          .head_stride = head_stride,
          .pairs = pairs};
}

kernels::RopeParams StageRunner::rope(const std::uint16_t* source, std::int64_t source_head_stride,
                                      std::uint16_t* x, int heads, std::int64_t head_stride) {
  auto params = rope(x, heads, head_stride, kernels::RopePairs::kInterleaved);
  params.source = source;
  params.source_token_stride = heads * source_head_stride;
  params.source_head_stride = source_head_stride;
  return params;
}

Result<void> StageRunner::norm_rope() {
  const Tensor& q_r = pass_.at("q_r");
  const auto columns = spec_.qkv_a_columns();
  const std::uint16_t* const qkv_a = pass_.at("qkv_a").bf16();
  const std::uint16_t* const kv = qkv_a + columns.kv;
  return backend_.norm_rope(
      {.query = {.x = qkv_a,
                 .weight = layer_.q_a_norm_.as<float>(),
                 .out = q_r.buffer.data(),
                 .rows = n_,
                 .dim = spec_.q_lora,
                 .x_stride = columns.all,
                 .out_stride = spec_.q_lora,
                 .eps = spec_.norm_eps},
       .quantised = quantised(q_r, spec_.q_lora, kOfQueryLatent),
       .latent = {.x = kv,
                  .weight = layer_.kv_a_norm_.as<float>(),
                  .out = pass_.at("latent").buffer.data(),
                  .rows = n_,
                  .dim = kLatentDim,
                  .x_stride = columns.all,
                  .out_stride = kLatentDim,
                  .eps = spec_.norm_eps},
       .key = rope(kv + kLatentDim, columns.all, pass_.at("k_rope").bf16(), 1, kRopeDim)});
}

Result<void> StageRunner::q_b_projection() {
  DSAPERF_TRY(project(pass_.at("q_r"), layer_.q_b_, pass_.at("q"), kOfQueryLatent));
  return backend_.rope(rope(pass_.at("q").bf16() + spec_.nope, spec_.query_dim(),
                            pass_.at("query").bf16() + kLatentDim, spec_.heads, kKeyDim));
}

Result<void> StageRunner::absorb() {
  return backend_.gemm({.x = pass_.at("q").bf16(),
                        .w = layer_.kv_b_.bf16.data(),
                        .y = pass_.at("query").bf16(),
                        .m = n_,
                        .n = kLatentDim,
                        .k = spec_.nope,
                        .batch = spec_.heads,
                        .x_stride = std::int64_t{spec_.heads} * spec_.query_dim(),
                        .w_stride = kLatentDim,
                        .y_stride = std::int64_t{spec_.heads} * kKeyDim,
                        .x_batch_stride = spec_.query_dim(),
                        .w_batch_stride = std::int64_t{spec_.nope + spec_.v} * kLatentDim,
                        .y_batch_stride = kKeyDim,
                        .w_layout = kernels::WeightLayout::kInOut});
}

Result<void> StageRunner::v_up() {
  return backend_.gemm({.x = pass_.at("latent_out").bf16(),
                        .w = layer_.kv_b_.bf16.as<std::uint16_t>() + spec_.nope * kLatentDim,
                        .y = pass_.at("v_out").bf16(),
                        .m = n_,
                        .n = spec_.v,
                        .k = kLatentDim,
                        .batch = spec_.heads,
                        .x_stride = std::int64_t{spec_.heads} * kLatentDim,
                        .w_stride = kLatentDim,
                        .y_stride = std::int64_t{spec_.heads} * spec_.v,
                        .x_batch_stride = kLatentDim,
                        .w_batch_stride = std::int64_t{spec_.nope + spec_.v} * kLatentDim,
                        .y_batch_stride = spec_.v});
}

Result<void> StageRunner::o_projection() {
  DSAPERF_TRY(quantise(pass_.at("v_out"), std::int64_t{spec_.heads} * spec_.v));
  return project(pass_.at("v_out"), layer_.o_, pass_.at("y"));
}

}  // namespace dsaperf::op
