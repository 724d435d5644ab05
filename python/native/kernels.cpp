#include "kernels.hpp"

#include "call.hpp"

namespace nb = nanobind;

namespace dsaperf::python {
namespace {

constexpr int kPageTokens = 64;
constexpr std::int64_t kBf16Row = 1152, kFp8Row = 656, kIndexPage = 8448;

std::int64_t groups(std::int64_t size) {
  return (size + 127) / 128;
}

template <typename T>
T* data(const std::optional<Tensor>& tensor) {
  return tensor ? tensor->data<T>() : nullptr;
}

// [batch, m, k] or [m, k].
struct Matrices {
  std::int64_t batch, rows, columns, stride, batch_stride;

  explicit Matrices(const Tensor& tensor)
      : batch(tensor.dimensions() == 3 ? tensor.size(0) : 1),
        rows(tensor.size(-2)),
        columns(tensor.size(-1)),
        stride(tensor.stride(-2)),
        batch_stride(tensor.dimensions() == 3 ? tensor.stride(0) : 0) {}
};

void gemm(nb::handle x_given, nb::handle w_given, nb::handle y_given, bool in_out, bool f32,
          const Options& o) {
  Call call(o);
  const auto x = call.tensor(x_given, "x", Element::kBf16, -1);
  const auto w = call.tensor(w_given, "w", Element::kBf16, x.dimensions());
  const auto y =
      call.tensor(y_given, "out", f32 ? Element::kF32 : Element::kBf16, x.dimensions()).writable();
  if (x.dimensions() != 2 && x.dimensions() != 3)
    refuse("x: has {} dimensions, not 2 or 3", x.dimensions());
  const Matrices a(x), b(w), c(y);
  const auto n = in_out ? b.columns : b.rows;
  w.expect(in_out ? -2 : -1, a.columns);
  y.expect(-2, a.rows);
  y.expect(-1, n);
  if (x.dimensions() == 3) {
    w.expect(0, a.batch);
    y.expect(0, a.batch);
  }
  auto p = DSAPERF_INIT(dsaperf_gemm_params);
  p.x = x.data<std::uint16_t>();
  p.w = w.data<std::uint16_t>();
  p.y = y.data<void>();
  p.m = a.rows;
  p.n = n;
  p.k = a.columns;
  p.batch = a.batch;
  p.x_stride = a.stride;
  p.w_stride = b.stride;
  p.y_stride = c.stride;
  p.x_batch_stride = a.batch_stride;
  p.w_batch_stride = b.batch_stride;
  p.y_batch_stride = c.batch_stride;
  p.w_layout = in_out ? DSAPERF_IN_OUT : DSAPERF_OUT_IN;
  p.output = f32 ? DSAPERF_F32_OUT : DSAPERF_BF16_OUT;
  call.run(p, dsaperf_gemm, dsaperf_gemm_workspace);
}

void fp8_gemm(nb::handle x_given, nb::handle x_scales_given, nb::handle w_given,
              nb::handle w_scales_given, nb::handle y_given, const Options& o) {
  Call call(o);
  const auto x = call.tensor(x_given, "x", Element::kE4m3, 2);
  const auto x_scales = call.tensor(x_scales_given, "x_scales", Element::kF32, 2);
  const auto w = call.tensor(w_given, "w", Element::kE4m3, 2);
  const auto w_scales = call.tensor(w_scales_given, "w_scales", Element::kF32, 2);
  const auto y = call.tensor(y_given, "out", Element::kBf16, 2).writable();
  auto p = DSAPERF_INIT(dsaperf_fp8_gemm_params);
  p.m = x.size(0);
  p.k = w.expect(1, x.size(1));
  p.n = w.size(0);
  x_scales.expect(0, p.m);
  x_scales.expect(1, groups(p.k));
  w_scales.expect(0, groups(p.n));
  w_scales.expect(1, groups(p.k));
  y.expect(0, p.m);
  y.expect(1, p.n);
  p.x = x.data<std::uint8_t>();
  p.x_scales = x_scales.data<float>();
  p.w = w.data<std::uint8_t>();
  p.w_scales = w_scales.data<float>();
  p.y = y.data<std::uint16_t>();
  p.x_stride = x.stride(0);
  p.x_scales_stride = x_scales.stride(0);
  p.w_stride = w.stride(0);
  p.w_scales_stride = w_scales.stride(0);
  p.y_stride = y.stride(0);
  call.run(p, dsaperf_fp8_gemm, dsaperf_fp8_gemm_workspace);
}

void quantise_groups(nb::handle x_given, nb::handle values_given, nb::handle scales_given,
                     bool f32_scale, const Options& o) {
  Call call(o);
  const auto x = call.tensor(x_given, "x", Element::kBf16, 2);
  const auto values = call.tensor(values_given, "values", Element::kE4m3, 2).writable();
  const auto scales = call.tensor(scales_given, "scales", Element::kF32, 2).writable();
  auto p = DSAPERF_INIT(dsaperf_quantise_groups_params);
  p.rows = values.expect(0, x.size(0));
  p.dim = static_cast<std::int32_t>(values.expect(1, x.size(1)));
  scales.expect(0, p.rows);
  scales.expect(1, groups(p.dim));
  p.x = x.data<std::uint16_t>();
  p.values = values.data<std::uint8_t>();
  p.scales = scales.data<float>();
  p.scale_format = f32_scale ? DSAPERF_F32_SCALE : DSAPERF_UE8M0;
  p.x_stride = x.stride(0);
  p.values_stride = values.stride(0);
  p.scales_stride = scales.stride(0);
  call.run(p, dsaperf_quantise_groups, dsaperf_quantise_groups_workspace);
}

void norm(nb::handle x_given, nb::handle weight_given, nb::handle bias_given, double eps,
          nb::handle out_given, const Options& o) {
  Call call(o);
  const auto x = call.tensor(x_given, "x", Element::kBf16, 2);
  const auto weight = call.tensor(weight_given, "weight", Element::kF32, 1);
  const auto bias = call.optional(bias_given, "bias", Element::kF32, 1);
  const auto out = call.tensor(out_given, "out", Element::kBf16, 2).writable();
  auto p = DSAPERF_INIT(dsaperf_norm_params);
  p.rows = out.expect(0, x.size(0));
  p.dim = static_cast<std::int32_t>(out.expect(1, x.size(1)));
  weight.expect(0, p.dim);
  if (bias) bias->expect(0, p.dim);
  p.x = x.data<std::uint16_t>();
  p.weight = weight.data<float>();
  p.bias = data<float>(bias);
  p.out = out.data<std::uint16_t>();
  p.eps = static_cast<float>(eps);
  p.x_stride = x.stride(0);
  p.out_stride = out.stride(0);
  call.run(p, dsaperf_norm, dsaperf_norm_workspace);
}

void rope(nb::handle x_given, nb::handle cos_sin_given, nb::handle positions_given, bool half_split,
          const Options& o) {
  Call call(o);
  const auto x = call.tensor(x_given, "x", Element::kBf16, 3).writable();
  const auto cos_sin = call.tensor(cos_sin_given, "cos_sin", Element::kF32, 2);
  const auto positions = call.tensor(positions_given, "positions", Element::kI32, 1);
  cos_sin.expect(1, x.size(2));
  cos_sin.expect_packed();
  auto p = DSAPERF_INIT(dsaperf_rope_params);
  p.x = x.data<std::uint16_t>();
  p.cos_sin = cos_sin.data<float>();
  p.positions = positions.data<std::int32_t>();
  p.tokens = positions.expect(0, x.size(0));
  p.table_rows = cos_sin.size(0);
  p.heads = static_cast<std::int32_t>(x.size(1));
  p.dim = static_cast<std::int32_t>(x.size(2));
  p.token_stride = x.stride(0);
  p.head_stride = x.stride(1);
  p.pairs = half_split ? DSAPERF_HALF_SPLIT : DSAPERF_INTERLEAVED;
  call.run(p, dsaperf_rope, dsaperf_rope_workspace);
}

void indexer_quantise(nb::handle x_given, nb::handle values_given, nb::handle scales_given,
                      nb::handle weights_given, nb::handle weights_out_given, double factor,
                      bool f32_scale, const Options& o) {
  Call call(o);
  const auto x = call.tensor(x_given, "x", Element::kBf16, 2);
  const auto values = call.tensor(values_given, "values", Element::kE4m3, 2).writable();
  const auto scales = call.tensor(scales_given, "scales", Element::kF32, 1).writable();
  const auto weights = call.optional(weights_given, "weights", Element::kF32, 1);
  auto weights_out = call.optional(weights_out_given, "weights_out", Element::kF32, 1);
  auto p = DSAPERF_INIT(dsaperf_indexer_quantise_params);
  x.expect(1, 128);
  values.expect(1, 128);
  values.expect_packed();
  p.rows = scales.expect(0, values.expect(0, x.size(0)));
  if (weights) weights->expect(0, p.rows);
  if (weights_out) weights_out->writable().expect(0, p.rows);
  p.x = x.data<std::uint16_t>();
  p.values = values.data<std::uint8_t>();
  p.scales = scales.data<float>();
  p.weights = data<float>(weights);
  p.weights_out = data<float>(weights_out);
  p.x_stride = x.stride(0);
  p.weight_factor = static_cast<float>(factor);
  p.scale_format = f32_scale ? DSAPERF_F32_SCALE : DSAPERF_UE8M0;
  call.run(p, dsaperf_indexer_quantise, dsaperf_indexer_quantise_workspace);
}

// A latent cache: rows of 576 bf16, or of 656 bytes; pages of 64 or not, as FlashMLA has them.
struct LatentCache {
  void* data;
  std::int64_t rows, row_stride_bytes;
  dsaperf_kv_format format;

  LatentCache(Call& call, nb::handle object, const char* name, bool fp8, bool written) {
    auto cache = call.tensor(object, name, fp8 ? Element::kByte : Element::kBf16, -1);
    if (written) cache.writable();
    const auto found = cache.rows();
    const auto width = fp8 ? kFp8Row : kBf16Row / 2;
    if (found.width != width) refuse("{}: rows are {} wide, not {}", name, found.width, width);
    data = cache.data<void>();
    rows = found.count;
    row_stride_bytes = found.stride * (fp8 ? 1 : 2);
    format = fp8 ? DSAPERF_KV_FP8 : DSAPERF_KV_BF16;
  }
};

void kv_cache_write(nb::handle latent_given, nb::handle rope_given, nb::handle slots_given,
                    nb::handle cache_given, bool fp8, bool f32_scale, const Options& o) {
  Call call(o);
  const auto latent = call.tensor(latent_given, "latent", Element::kBf16, 2);
  const auto rope = call.tensor(rope_given, "rope", Element::kBf16, 2);
  const auto slots = call.tensor(slots_given, "slots", Element::kI64, 1);
  const LatentCache cache(call, cache_given, "cache", fp8, true);
  latent.expect(1, 512);
  rope.expect(1, 64);
  auto p = DSAPERF_INIT(dsaperf_kv_cache_write_params);
  p.tokens = slots.expect(0, rope.expect(0, latent.size(0)));
  p.latent = latent.data<std::uint16_t>();
  p.rope = rope.data<std::uint16_t>();
  p.slots = slots.data<std::int64_t>();
  p.cache = cache.data;
  p.rows = cache.rows;
  p.latent_stride = latent.stride(0);
  p.rope_stride = rope.stride(0);
  p.row_stride_bytes = cache.row_stride_bytes;
  p.format = cache.format;
  p.scale_format = f32_scale ? DSAPERF_F32_SCALE : DSAPERF_UE8M0;
  call.run(p, dsaperf_kv_cache_write, dsaperf_kv_cache_write_workspace);
}

// Index keys in pages of 64: 8448 bytes each, in any shape behind the page.
struct IndexPages {
  std::uint8_t* data;
  std::int64_t count, stride_bytes;

  IndexPages(Call& call, nb::handle object, bool written) {
    auto pages = call.tensor(object, "pages", Element::kByte, -1);
    if (written) pages.writable();
    if (pages.dimensions() < 2)
      refuse("pages: has {} dimensions, not [pages, 8448]", pages.dimensions());
    std::int64_t bytes = 1;
    for (int d = pages.dimensions() - 1; d > 0; --d) {
      if (pages.size(d) > 1 && pages.stride(d) != bytes) refuse("pages: a page is not packed");
      bytes *= pages.size(d);
    }
    if (bytes != kIndexPage) refuse("pages: a page has {} bytes, not {}", bytes, kIndexPage);
    data = pages.data<std::uint8_t>();
    count = pages.size(0);
    stride_bytes = std::max(pages.stride(0), kIndexPage);
  }
};

void index_key_cache_write(nb::handle values_given, nb::handle scales_given, nb::handle slots_given,
                           nb::handle pages_given, const Options& o) {
  Call call(o);
  const auto values = call.tensor(values_given, "values", Element::kE4m3, 2);
  const auto scales = call.tensor(scales_given, "scales", Element::kF32, 1);
  const auto slots = call.tensor(slots_given, "slots", Element::kI64, 1);
  const IndexPages pages(call, pages_given, true);
  values.expect(1, 128);
  values.expect_packed();
  auto p = DSAPERF_INIT(dsaperf_index_key_cache_write_params);
  p.tokens = slots.expect(0, scales.expect(0, values.size(0)));
  p.values = values.data<std::uint8_t>();
  p.scales = scales.data<float>();
  p.slots = slots.data<std::int64_t>();
  p.pages = pages.data;
  p.page_count = pages.count;
  p.page_stride_bytes = pages.stride_bytes;
  call.run(p, dsaperf_index_key_cache_write, dsaperf_index_key_cache_write_workspace);
}

void gather_index_keys(nb::handle pages_given, nb::handle block_table_given,
                       nb::handle values_given, nb::handle scales_given, const Options& o) {
  Call call(o);
  const IndexPages pages(call, pages_given, false);
  const auto block_table = call.tensor(block_table_given, "block_table", Element::kI32, 1);
  const auto values = call.tensor(values_given, "values", Element::kE4m3, 2).writable();
  const auto scales = call.tensor(scales_given, "scales", Element::kF32, 1).writable();
  values.expect(1, 128);
  values.expect_packed();
  auto p = DSAPERF_INIT(dsaperf_gather_index_keys_params);
  p.tokens = scales.expect(0, values.size(0));
  const auto needed = (p.tokens + kPageTokens - 1) / kPageTokens;
  if (block_table.size(0) < needed)
    refuse("block_table: {} pages hold fewer than {} tokens", block_table.size(0), p.tokens);
  p.pages = pages.data;
  p.block_table = block_table.data<std::int32_t>();
  p.values = values.data<std::uint8_t>();
  p.scales = scales.data<float>();
  p.page_count = pages.count;
  p.page_stride_bytes = pages.stride_bytes;
  call.run(p, dsaperf_gather_index_keys, dsaperf_gather_index_keys_workspace);
}

void indexer_scores(nb::handle q_given, nb::handle weights_given, nb::handle k_given,
                    nb::handle k_scales_given, nb::handle start_given, nb::handle end_given,
                    nb::handle scores_given, bool fill, const Options& o) {
  Call call(o);
  const auto q = call.tensor(q_given, "q", Element::kE4m3, 3);
  const auto weights = call.tensor(weights_given, "weights", Element::kF32, 2);
  const auto k = call.tensor(k_given, "k", Element::kE4m3, 2);
  const auto k_scales = call.tensor(k_scales_given, "k_scales", Element::kF32, 1);
  const auto start = call.tensor(start_given, "start", Element::kI32, 1);
  const auto end = call.tensor(end_given, "end", Element::kI32, 1);
  const auto scores = call.tensor(scores_given, "out", Element::kF32, 2).writable();
  for (const auto* packed : {&q, &weights, &k}) packed->expect_packed();
  auto p = DSAPERF_INIT(dsaperf_indexer_scores_params);
  p.tokens = q.size(0);
  p.heads = static_cast<std::int32_t>(q.size(1));
  p.dim = static_cast<std::int32_t>(k.expect(1, q.size(2)));
  p.keys = k_scales.expect(0, k.size(0));
  weights.expect(0, p.tokens);
  weights.expect(1, p.heads);
  start.expect(0, p.tokens);
  end.expect(0, p.tokens);
  scores.expect(0, p.tokens);
  scores.expect(1, p.keys);
  p.q = q.data<std::uint8_t>();
  p.weights = weights.data<float>();
  p.k = k.data<std::uint8_t>();
  p.k_scales = k_scales.data<float>();
  p.start = start.data<std::int32_t>();
  p.end = end.data<std::int32_t>();
  p.scores = scores.data<float>();
  p.scores_stride = scores.stride(0);
  p.outside = fill ? DSAPERF_MINUS_INFINITY : DSAPERF_UNTOUCHED;
  call.run(p, dsaperf_indexer_scores, dsaperf_indexer_scores_workspace);
}

void paged_indexer_scores(nb::handle q_given, nb::handle weights_given, nb::handle pages_given,
                          nb::handle block_table_given, nb::handle context_length_given,
                          nb::handle scores_given, bool fill, const Options& o) {
  Call call(o);
  const auto q = call.tensor(q_given, "q", Element::kE4m3, 4);
  const auto weights = call.tensor(weights_given, "weights", Element::kF32, 3);
  const IndexPages pages(call, pages_given, false);
  const auto block_table = call.tensor(block_table_given, "block_table", Element::kI32, 2);
  const auto context_length = call.tensor(context_length_given, "context_length", Element::kI32, 1);
  const auto scores = call.tensor(scores_given, "out", Element::kF32, 2).writable();
  q.expect_packed();
  weights.expect_packed();
  auto p = DSAPERF_INIT(dsaperf_paged_indexer_scores_params);
  p.batch = q.size(0);
  p.q_len = static_cast<std::int32_t>(q.size(1));
  p.heads = static_cast<std::int32_t>(q.size(2));
  p.dim = static_cast<std::int32_t>(q.size(3));
  weights.expect(0, p.batch);
  weights.expect(1, p.q_len);
  weights.expect(2, p.heads);
  block_table.expect(0, p.batch);
  context_length.expect(0, p.batch);
  scores.expect(0, p.batch * p.q_len);
  p.max_context = scores.size(1);
  if (block_table.size(1) * kPageTokens < p.max_context)
    refuse("block_table: {} pages a request hold fewer than the {} columns of out",
           block_table.size(1), p.max_context);
  p.q = q.data<std::uint8_t>();
  p.weights = weights.data<float>();
  p.pages = pages.data;
  p.page_count = pages.count;
  p.page_stride_bytes = pages.stride_bytes;
  p.block_table = block_table.data<std::int32_t>();
  p.block_table_stride = block_table.stride(0);
  p.context_length = context_length.data<std::int32_t>();
  p.scores = scores.data<float>();
  p.scores_stride = scores.stride(0);
  p.outside = fill ? DSAPERF_MINUS_INFINITY : DSAPERF_UNTOUCHED;
  call.run(p, dsaperf_paged_indexer_scores, dsaperf_paged_indexer_scores_workspace);
}

void topk(nb::handle scores_given, nb::handle start_given, nb::handle end_given,
          nb::handle indices_given, const Options& o) {
  Call call(o);
  const auto scores = call.tensor(scores_given, "scores", Element::kF32, 2);
  const auto start = call.optional(start_given, "start", Element::kI32, 1);
  const auto end = call.optional(end_given, "end", Element::kI32, 1);
  const auto indices = call.tensor(indices_given, "out", Element::kI32, 2).writable();
  auto p = DSAPERF_INIT(dsaperf_topk_params);
  p.rows = indices.expect(0, scores.size(0));
  p.columns = scores.size(1);
  p.topk = static_cast<std::int32_t>(indices.size(1));
  if (start) start->expect(0, p.rows);
  if (end) end->expect(0, p.rows);
  p.scores = scores.data<float>();
  p.start = data<std::int32_t>(start);
  p.end = data<std::int32_t>(end);
  p.indices = indices.data<std::int32_t>();
  p.scores_stride = scores.stride(0);
  p.indices_stride = indices.stride(0);
  call.run(p, dsaperf_topk, dsaperf_topk_workspace);
}

void selection_rows(nb::handle positions_given, nb::handle request_given,
                    nb::handle block_table_given, nb::handle rows_given, const Options& o) {
  Call call(o);
  const auto positions = call.tensor(positions_given, "positions", Element::kI32, 2);
  const auto request = call.tensor(request_given, "request", Element::kI32, 1);
  const auto block_table = call.tensor(block_table_given, "block_table", Element::kI32, 2);
  const auto rows = call.tensor(rows_given, "out", Element::kI32, 2).writable();
  auto p = DSAPERF_INIT(dsaperf_selection_rows_params);
  p.tokens = rows.expect(0, request.expect(0, positions.size(0)));
  p.topk = static_cast<std::int32_t>(rows.expect(1, positions.size(1)));
  p.requests = block_table.size(0);
  p.positions = positions.data<std::int32_t>();
  p.request = request.data<std::int32_t>();
  p.block_table = block_table.data<std::int32_t>();
  p.rows = rows.data<std::int32_t>();
  p.positions_stride = positions.stride(0);
  p.rows_stride = rows.stride(0);
  p.block_table_stride = block_table.stride(0);
  call.run(p, dsaperf_selection_rows, dsaperf_selection_rows_workspace);
}

void sparse_mla(nb::handle q_given, nb::handle cache_given, nb::handle indices_given, double scale,
                nb::handle topk_length_given, nb::handle out_given, nb::handle lse_given, bool fp8,
                bool decode, const Options& o) {
  Call call(o);
  const auto q = call.tensor(q_given, "q", Element::kBf16, 3);
  const LatentCache cache(call, cache_given, "cache", fp8, false);
  const auto indices = call.tensor(indices_given, "indices", Element::kI32, 2);
  const auto topk_length = call.optional(topk_length_given, "topk_length", Element::kI32, 1);
  const auto out = call.tensor(out_given, "out", Element::kBf16, 3).writable();
  const auto lse = call.tensor(lse_given, "lse", Element::kF32, 2).writable();
  auto p = DSAPERF_INIT(dsaperf_sparse_mla_params);
  p.tokens = indices.expect(0, q.size(0));
  p.heads = static_cast<std::int32_t>(q.size(1));
  q.expect(2, 576);
  p.topk = static_cast<std::int32_t>(indices.size(1));
  if (topk_length) topk_length->expect(0, p.tokens);
  out.expect(0, p.tokens);
  out.expect(1, p.heads);
  out.expect(2, 512);
  lse.expect(0, p.tokens);
  lse.expect(1, p.heads);
  p.q = q.data<std::uint16_t>();
  p.kv = cache.data;
  p.kv_rows = cache.rows;
  p.kv_row_stride_bytes = cache.row_stride_bytes;
  p.kv_format = cache.format;
  p.indices = indices.data<std::int32_t>();
  p.topk_length = data<std::int32_t>(topk_length);
  p.out = out.data<std::uint16_t>();
  p.lse = lse.data<float>();
  p.scale = static_cast<float>(scale);
  p.q_token_stride = q.stride(0);
  p.q_head_stride = q.stride(1);
  p.indices_stride = indices.stride(0);
  p.out_token_stride = out.stride(0);
  p.out_head_stride = out.stride(1);
  p.lse_stride = lse.stride(0);
  p.decode = decode ? 1 : 0;
  call.run(p, dsaperf_sparse_mla, dsaperf_sparse_mla_workspace);
}

}  // namespace

void bind_kernels(nb::module_& module) {
  nb::class_<Options>(module, "Options")
      .def(
          "__init__",
          [](Options* self, std::uintptr_t stream, bool reference, int threads,
             nb::object workspace) {
            new (self) Options{stream, reference, threads, std::move(workspace)};
          },
          nb::arg("stream"), nb::arg("reference"), nb::arg("threads"), nb::arg("workspace"));
  module.def("gemm", &gemm);
  module.def("fp8_gemm", &fp8_gemm);
  module.def("quantise_groups", &quantise_groups);
  module.def("norm", &norm, nb::arg(), nb::arg(), nb::arg().none(), nb::arg(), nb::arg(),
             nb::arg());
  module.def("rope", &rope);
  module.def("indexer_quantise", &indexer_quantise, nb::arg(), nb::arg(), nb::arg(),
             nb::arg().none(), nb::arg().none(), nb::arg(), nb::arg(), nb::arg());
  module.def("kv_cache_write", &kv_cache_write);
  module.def("index_key_cache_write", &index_key_cache_write);
  module.def("gather_index_keys", &gather_index_keys);
  module.def("indexer_scores", &indexer_scores);
  module.def("paged_indexer_scores", &paged_indexer_scores);
  module.def("topk", &topk, nb::arg(), nb::arg().none(), nb::arg().none(), nb::arg(), nb::arg());
  module.def("selection_rows", &selection_rows);
  module.def("sparse_mla", &sparse_mla, nb::arg(), nb::arg(), nb::arg(), nb::arg(),
             nb::arg().none(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg());
}

}  // namespace dsaperf::python
