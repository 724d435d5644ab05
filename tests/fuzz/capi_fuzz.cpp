// Any arguments to the C interface whose memory is there: an error code or a result, never a crash.
// Sizes and strides are small or absurd, pointers are null or lead to two megabytes of bytes from
// the input, so what is read as page, slot, position or request is anything; what a check lets
// through must stay within the sizes it was given.

#include <dsaperf/dsaperf.h>

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <string>
#include <vector>

namespace {

// Large enough for every extent that the small sizes below can span: 8 tokens of 128 heads of 1024.
constexpr std::size_t kArena = std::size_t{1} << 22;
// Outputs begin in the second half: they may not overlap inputs.
constexpr std::size_t kOutputs = kArena / 2;

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {
    // The input over and over, by copies that double.
    std::size_t filled = std::min(std::max<std::size_t>(size, 1), kArena);
    arena()[0] = 0;
    if (size > 0) std::memcpy(arena(), data, filled);
    for (; filled < kArena; filled *= 2)
      std::memcpy(arena() + filled, arena(), std::min(filled, kArena - filled));
  }
  std::uint8_t byte() { return at_ < size_ ? data_[at_++] : 0; }

  // Mostly a small size, sometimes one that no memory has.
  std::int64_t size(std::int64_t largest) {
    const std::uint8_t kind = byte();
    if (kind == 255) return -static_cast<std::int64_t>(byte());
    if (kind == 254) return INT64_MAX - byte();
    if (kind == 253) return std::int64_t{1} << (byte() % 64);
    return kind % (largest + 1);
  }
  std::int32_t number(std::int32_t largest) {
    const std::int64_t value = size(largest);
    return static_cast<std::int32_t>(std::clamp<std::int64_t>(value, INT32_MIN, INT32_MAX));
  }
  // A stride that lets `width` elements fit, or not quite.
  std::int64_t stride(std::int64_t width) {
    const std::uint8_t kind = byte();
    if (kind == 255) return size(8);
    return std::clamp<std::int64_t>(width, 0, 1 << 20) + kind % 4 - (kind == 254 ? 2 : 0);
  }
  template <typename T>
  T* pointer(std::size_t offset_bytes = 0) {
    return byte() == 255 ? nullptr : reinterpret_cast<T*>(arena() + offset_bytes);
  }
  dsaperf_execution execution() {
    dsaperf_execution where = DSAPERF_INIT(dsaperf_execution);
    where.device = byte() % 4;
    where.threads = 1 + byte() % 2;
    return where;
  }
  std::int32_t heads() {
    constexpr std::int32_t kHeads[] = {8, 16, 32, 64, 128, 7};
    return kHeads[byte() % 6];
  }

 private:
  static std::uint8_t* arena() {
    static std::vector<std::uint8_t> memory(kArena);
    return memory.data();
  }

  const std::uint8_t* data_;
  std::size_t size_;
  std::size_t at_ = 0;
};

void expect(dsaperf_status status, const dsaperf_error& error) {
  if (status == DSAPERF_INTERNAL) std::abort();
  if ((status == DSAPERF_OK) != (error.message[0] == '\0')) std::abort();
}

template <typename Params, typename Stage, typename Workspace>
void call(Input& in, Params& params, Stage stage, Workspace workspace) {
  const dsaperf_execution where = in.execution();
  if (in.byte() == 255) params.struct_size = in.byte();
  dsaperf_error error;
  std::size_t bytes = 0;
  expect(workspace(&params, &where, &bytes, &error), error);
  expect(stage(&params, &where, &error), error);
}

void gemm(Input& in) {
  dsaperf_gemm_params p = DSAPERF_INIT(dsaperf_gemm_params);
  p.x = in.pointer<std::uint16_t>();
  p.w = in.pointer<std::uint16_t>();
  p.y = in.pointer<std::uint16_t>(kOutputs);
  p.m = in.size(5);
  p.n = in.size(40);
  p.k = in.size(40);
  p.batch = in.size(3);
  p.x_stride = in.stride(p.k);
  p.w_stride = in.stride(40);
  p.y_stride = in.stride(40);
  p.x_batch_stride = in.stride(40);
  p.w_batch_stride = in.stride(1600);
  p.y_batch_stride = in.stride(40);
  p.w_layout = in.number(2);
  p.output = in.number(2);
  // Sizes above what the arena holds would be read, or written: the extent of memory is the
  // caller's word.
  if (p.k > 1000 || p.n > 1000 || p.m > 1000 || p.batch > 1000) p.y = nullptr;
  call(in, p, dsaperf_gemm, dsaperf_gemm_workspace);
}

void rope(Input& in) {
  dsaperf_rope_params p = DSAPERF_INIT(dsaperf_rope_params);
  p.x = in.pointer<std::uint16_t>();
  p.cos_sin = in.pointer<float>();
  p.positions = in.pointer<std::int32_t>();
  p.tokens = std::min<std::int64_t>(in.size(6), 6);
  p.table_rows = std::min<std::int64_t>(in.size(6), 6);
  p.heads = std::min(in.number(4), 8);
  p.dim = std::min(in.number(64), 64);
  p.token_stride = in.stride(512);
  p.head_stride = in.stride(64);
  p.pairs = in.number(2);
  call(in, p, dsaperf_rope, dsaperf_rope_workspace);
}

void cache_writes(Input& in) {
  dsaperf_kv_cache_write_params p = DSAPERF_INIT(dsaperf_kv_cache_write_params);
  p.latent = in.pointer<std::uint16_t>();
  p.rope = in.pointer<std::uint16_t>();
  p.slots = in.pointer<std::int64_t>();
  p.cache = in.pointer<void>(kOutputs);
  p.tokens = std::min<std::int64_t>(in.size(6), 6);
  p.rows = std::min<std::int64_t>(in.size(100), 100);
  p.latent_stride = in.stride(512);
  p.rope_stride = in.stride(64);
  p.row_stride_bytes = in.stride(1152);
  p.format = in.number(2);
  p.scale_format = in.number(2);
  call(in, p, dsaperf_kv_cache_write, dsaperf_kv_cache_write_workspace);
}

void scores(Input& in) {
  dsaperf_paged_indexer_scores_params p = DSAPERF_INIT(dsaperf_paged_indexer_scores_params);
  p.q = in.pointer<std::uint8_t>();
  p.weights = in.pointer<float>();
  p.pages = in.pointer<std::uint8_t>();
  p.block_table = in.pointer<std::int32_t>();
  p.context_length = in.pointer<std::int32_t>();
  p.scores = in.pointer<float>(kOutputs);
  p.batch = std::min<std::int64_t>(in.size(3), 3);
  p.q_len = in.number(9);
  p.heads = in.heads();
  p.dim = in.byte() == 0 ? 64 : 128;
  p.outside = in.number(2);
  p.max_context = std::min<std::int64_t>(in.size(200), 200);
  p.page_count = std::min<std::int64_t>(in.size(4), 4);
  p.page_stride_bytes = in.stride(8448);
  p.block_table_stride = std::min<std::int64_t>(in.size(4), 4);
  p.scores_stride = in.stride(200);
  call(in, p, dsaperf_paged_indexer_scores, dsaperf_paged_indexer_scores_workspace);
}

void top(Input& in) {
  dsaperf_topk_params p = DSAPERF_INIT(dsaperf_topk_params);
  p.scores = in.pointer<float>();
  p.start = in.pointer<std::int32_t>();
  p.end = in.pointer<std::int32_t>();
  p.indices = in.pointer<std::int32_t>(kOutputs);
  p.rows = std::min<std::int64_t>(in.size(4), 4);
  p.columns = std::min<std::int64_t>(in.size(250), 250);
  p.topk = std::min(in.number(100), 4096);
  p.scores_stride = in.stride(250);
  p.indices_stride = in.stride(p.topk);
  call(in, p, dsaperf_topk, dsaperf_topk_workspace);
}

void selection(Input& in) {
  dsaperf_selection_rows_params p = DSAPERF_INIT(dsaperf_selection_rows_params);
  p.positions = in.pointer<std::int32_t>();
  p.request = in.pointer<std::int32_t>();
  p.block_table = in.pointer<std::int32_t>();
  p.rows = in.pointer<std::int32_t>(kOutputs);
  p.tokens = std::min<std::int64_t>(in.size(4), 4);
  p.requests = std::min<std::int64_t>(in.size(4), 4);
  p.topk = std::min(in.number(100), 100);
  p.positions_stride = in.stride(100);
  p.rows_stride = in.stride(100);
  p.block_table_stride = std::min<std::int64_t>(in.size(8), 8);
  call(in, p, dsaperf_selection_rows, dsaperf_selection_rows_workspace);
}

void attention(Input& in) {
  dsaperf_sparse_mla_params p = DSAPERF_INIT(dsaperf_sparse_mla_params);
  p.q = in.pointer<std::uint16_t>();
  p.kv = in.pointer<void>();
  p.indices = in.pointer<std::int32_t>();
  p.topk_length = in.pointer<std::int32_t>();
  p.out = in.pointer<std::uint16_t>(kOutputs);
  p.lse = in.pointer<float>(kOutputs + kArena / 4);
  p.tokens = std::min<std::int64_t>(in.size(3), 3);
  p.kv_rows = std::min<std::int64_t>(in.size(200), 200);
  p.kv_row_stride_bytes = in.stride(1152);
  p.kv_format = in.number(2);
  p.heads = in.heads();
  p.topk = std::min(in.number(20), 100);
  p.scale = 0.1F;
  p.q_token_stride = in.stride(p.heads * 580);
  p.q_head_stride = in.stride(576);
  p.indices_stride = in.stride(100);
  p.out_token_stride = in.stride(p.heads * 516);
  p.out_head_stride = in.stride(512);
  p.lse_stride = in.stride(128);
  call(in, p, dsaperf_sparse_mla, dsaperf_sparse_mla_workspace);
}

void fp8_gemm(Input& in) {
  dsaperf_fp8_gemm_params p = DSAPERF_INIT(dsaperf_fp8_gemm_params);
  p.x = in.pointer<std::uint8_t>();
  p.x_scales = in.pointer<float>();
  p.w = in.pointer<std::uint8_t>();
  p.w_scales = in.pointer<float>();
  p.y = in.pointer<std::uint16_t>(kOutputs);
  p.m = std::min<std::int64_t>(in.size(5), 5);
  p.n = std::min<std::int64_t>(in.size(200), 200);
  p.k = std::min<std::int64_t>(in.size(200), 200);
  p.x_stride = in.stride(200);
  p.x_scales_stride = in.stride(2);
  p.w_stride = in.stride(200);
  p.w_scales_stride = in.stride(2);
  p.y_stride = in.stride(200);
  call(in, p, dsaperf_fp8_gemm, dsaperf_fp8_gemm_workspace);
}

void quantise_groups(Input& in) {
  dsaperf_quantise_groups_params p = DSAPERF_INIT(dsaperf_quantise_groups_params);
  p.x = in.pointer<std::uint16_t>();
  p.values = in.pointer<std::uint8_t>(kOutputs);
  p.scales = in.pointer<float>(kOutputs + kArena / 4);
  p.rows = std::min<std::int64_t>(in.size(6), 6);
  p.dim = std::min(in.number(200), 1000);
  p.scale_format = in.number(2);
  p.x_stride = in.stride(200);
  p.values_stride = in.stride(200);
  p.scales_stride = in.stride(2);
  call(in, p, dsaperf_quantise_groups, dsaperf_quantise_groups_workspace);
}

void norm(Input& in) {
  dsaperf_norm_params p = DSAPERF_INIT(dsaperf_norm_params);
  p.x = in.pointer<std::uint16_t>();
  p.weight = in.pointer<float>();
  p.bias = in.byte() % 2 == 0 ? nullptr : in.pointer<float>();
  p.out = in.pointer<std::uint16_t>(kOutputs);
  p.rows = std::min<std::int64_t>(in.size(6), 6);
  p.dim = std::min(in.number(200), 1000);
  p.eps = 1e-6F;
  p.x_stride = in.stride(200);
  p.out_stride = in.stride(200);
  call(in, p, dsaperf_norm, dsaperf_norm_workspace);
}

void indexer_quantise(Input& in) {
  dsaperf_indexer_quantise_params p = DSAPERF_INIT(dsaperf_indexer_quantise_params);
  p.x = in.pointer<std::uint16_t>();
  p.values = in.pointer<std::uint8_t>(kOutputs);
  p.scales = in.pointer<float>(kOutputs + kArena / 4);
  p.weights = in.pointer<float>();
  p.weights_out = in.pointer<float>(kOutputs + kArena / 4 + kArena / 8);
  p.rows = std::min<std::int64_t>(in.size(6), 6);
  p.x_stride = in.stride(128);
  p.weight_factor = 0.1F;
  p.scale_format = in.number(2);
  call(in, p, dsaperf_indexer_quantise, dsaperf_indexer_quantise_workspace);
}

void index_key_cache_write(Input& in) {
  dsaperf_index_key_cache_write_params p = DSAPERF_INIT(dsaperf_index_key_cache_write_params);
  p.values = in.pointer<std::uint8_t>();
  p.scales = in.pointer<float>();
  p.slots = in.pointer<std::int64_t>();
  p.pages = in.pointer<std::uint8_t>(kOutputs);
  p.tokens = std::min<std::int64_t>(in.size(6), 6);
  p.page_count = std::min<std::int64_t>(in.size(4), 4);
  p.page_stride_bytes = in.stride(8448);
  call(in, p, dsaperf_index_key_cache_write, dsaperf_index_key_cache_write_workspace);
}

void gather_index_keys(Input& in) {
  dsaperf_gather_index_keys_params p = DSAPERF_INIT(dsaperf_gather_index_keys_params);
  p.pages = in.pointer<std::uint8_t>();
  p.block_table = in.pointer<std::int32_t>();
  p.values = in.pointer<std::uint8_t>(kOutputs);
  p.scales = in.pointer<float>(kOutputs + kArena / 4);
  p.tokens = std::min<std::int64_t>(in.size(200), 200);
  p.page_count = std::min<std::int64_t>(in.size(4), 4);
  p.page_stride_bytes = in.stride(8448);
  call(in, p, dsaperf_gather_index_keys, dsaperf_gather_index_keys_workspace);
}

void gathered_scores(Input& in) {
  dsaperf_indexer_scores_params p = DSAPERF_INIT(dsaperf_indexer_scores_params);
  p.q = in.pointer<std::uint8_t>();
  p.weights = in.pointer<float>();
  p.k = in.pointer<std::uint8_t>();
  p.k_scales = in.pointer<float>();
  p.start = in.pointer<std::int32_t>();
  p.end = in.pointer<std::int32_t>();
  p.scores = in.pointer<float>(kOutputs);
  p.tokens = std::min<std::int64_t>(in.size(4), 4);
  p.keys = std::min<std::int64_t>(in.size(200), 200);
  p.heads = in.heads();
  p.dim = in.byte() == 0 ? 64 : 128;
  p.scores_stride = in.stride(200);
  p.outside = in.number(2);
  call(in, p, dsaperf_indexer_scores, dsaperf_indexer_scores_workspace);
}

// A model whose layers are made in a millisecond: layer 0 has an indexer, layer 1 shares its
// selection.
constexpr char kSmallModel[] = R"({
  "architectures": ["GlmMoeDsaForCausalLM"], "model_type": "glm_moe_dsa", "num_hidden_layers": 2,
  "hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 16, "num_key_value_heads": 16,
  "v_head_dim": 16, "q_lora_rank": 32, "kv_lora_rank": 512, "qk_nope_head_dim": 16,
  "qk_rope_head_dim": 64, "vocab_size": 64, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
  "rope_parameters": {"rope_theta": 10000, "rope_type": "default"}, "first_k_dense_replace": 2,
  "n_routed_experts": 8, "num_experts_per_tok": 2, "n_shared_experts": 1,
  "moe_intermediate_size": 64, "index_n_heads": 8, "index_head_dim": 128, "index_topk": 64,
  "indexer_types": ["full", "shared"], "dtype": "bfloat16"})";
constexpr int kHidden = 64;
constexpr int kTopk = 64;

const char* small_model() {
  static const std::string kPath = [] {
    std::string name = std::filesystem::temp_directory_path() / "capi_fuzz_XXXXXX";
    const int file = mkstemp(name.data());
    if (file < 0 || write(file, kSmallModel, sizeof kSmallModel - 1) < 0) std::abort();
    close(file);
    std::filesystem::rename(name, name + ".json");
    return name + ".json";
  }();
  return kPath.c_str();
}

dsaperf_layer* small_layer(int index) {
  static dsaperf_layer* layers[] = {nullptr, nullptr};
  dsaperf_layer*& made = layers[index];
  if (made != nullptr) return made;
  dsaperf_layer_options options = DSAPERF_INIT(dsaperf_layer_options);
  options.config = small_model();
  options.layer = index;
  options.threads = 1;
  dsaperf_error error;
  if (dsaperf_layer_create(&options, &made, &error) != DSAPERF_OK) {
    std::fprintf(stderr, "%s\n", error.message);
    std::abort();
  }
  return made;
}

void layer_creation(Input& in) {
  dsaperf_layer_options options = DSAPERF_INIT(dsaperf_layer_options);
  const char* const paths[] = {small_model(),       small_model(), "",
                               "/nonexistent.json", "/dev/null",   nullptr};
  options.config = paths[in.byte() % std::size(paths)];
  options.layer = in.number(2);
  options.heads = in.byte() % 2 == 0 ? in.heads() : in.number(20);
  options.device = in.byte() % 4;
  options.threads = in.number(2);
  options.fp8_projections = in.number(2);
  options.seed = in.byte();
  options.weights = in.byte() % 4 == 0 ? paths[in.byte() % std::size(paths)] : nullptr;
  if (in.byte() == 255) options.struct_size = in.byte();
  dsaperf_error error;
  dsaperf_layer* layer = nullptr;
  const dsaperf_status status = dsaperf_layer_create(&options, &layer, &error);
  expect(status, error);
  if ((status == DSAPERF_OK) != (layer != nullptr)) std::abort();
  dsaperf_layer_info info = DSAPERF_INIT(dsaperf_layer_info);
  expect(dsaperf_layer_get_info(layer, &info, &error), error);
  dsaperf_layer_destroy(layer);
}

// A batch of any requests and counts. The memory behind x, selection and the results is there for
// as many values as the counts say, which is the caller's word.
void forward(Input& in, const dsaperf_layer* layer, dsaperf_cache* cache) {
  constexpr std::int64_t kMostTokens = 96;
  std::int64_t requests[4];
  std::int64_t new_tokens[4];
  std::int64_t tokens = 0;
  dsaperf_batch batch = DSAPERF_INIT(dsaperf_batch);
  batch.count = in.byte() == 255 ? in.size(4) : in.byte() % 4;
  for (int i = 0; i < 4; ++i) {
    requests[i] = in.byte() % 8 == 0 ? in.size(4) : i;
    new_tokens[i] = in.byte() % 4 == 0 ? in.size(70) : in.byte() % 5;
    if (i < batch.count && new_tokens[i] > 0 && new_tokens[i] <= kMostTokens)
      tokens += new_tokens[i];
  }
  tokens = std::min(tokens, kMostTokens);
  // More than four are never there; the counts are read before the lists are.
  batch.requests = batch.count > 4 || in.byte() == 255 ? nullptr : requests;
  batch.new_tokens = in.byte() == 255 ? nullptr : new_tokens;
  batch.x = in.pointer<std::uint16_t>();
  batch.x_count = in.byte() == 255 ? in.size(kHidden) : tokens * kHidden;
  batch.selection = in.pointer<std::int32_t>();
  const std::uint8_t selects = in.byte();
  batch.selection_count = selects == 255 ? in.size(kTopk) : selects % 2 == 0 ? tokens * kTopk : 0;
  batch.y = in.pointer<std::uint16_t>(kOutputs);
  batch.selection_out =
      in.byte() % 2 == 0 ? nullptr : in.pointer<std::int32_t>(kOutputs + kArena / 4);
  if (in.byte() == 255) batch.struct_size = in.byte();
  dsaperf_error error;
  expect(dsaperf_layer_forward(in.byte() == 255 ? nullptr : layer, cache, &batch, &error), error);
}

// A cache handle, and the layers that use it, through any sequence of calls with any requests and
// sizes.
void handle_calls(Input& in) {
  const dsaperf_layer* const layer = small_layer(in.byte() % 2);
  dsaperf_error error;
  dsaperf_cache_options options = DSAPERF_INIT(dsaperf_cache_options);
  options.pages = std::min<std::int64_t>(in.size(8), 8);
  options.kv = in.number(2);
  dsaperf_cache* cache = nullptr;
  expect(dsaperf_cache_create(in.byte() == 255 ? nullptr : layer, &options, &cache, &error), error);
  for (int calls = in.byte() % 16; calls > 0; --calls) {
    std::int64_t number = 0;
    const std::int64_t request = in.size(4);
    std::int64_t slots[512];
    std::int32_t table[8];
    dsaperf_cache_view view = DSAPERF_INIT(dsaperf_cache_view);
    switch (in.byte() % 10) {
      case 0:
        expect(dsaperf_cache_remove_request(cache, request, &error), error);
        break;
      case 1:
        expect(dsaperf_cache_fork(cache, request, in.size(200), &number, &error), error);
        break;
      case 2:  // beyond 512 tokens there are not enough pages, so that no slot is written
        expect(dsaperf_cache_append(cache, request, in.size(512), slots, &error), error);
        break;
      case 3:
        expect(dsaperf_cache_length(cache, request, &number, &error), error);
        break;
      case 4:
        expect(dsaperf_cache_block_table(cache, request, table, in.byte() % 9, &number, &error),
               error);
        break;
      case 5:
        expect(dsaperf_cache_get_view(cache, &view, &error), error);
        break;
      case 6:  // the other layer has caches of another kind
        expect(dsaperf_cache_fill(cache, in.byte() % 8 == 0 ? small_layer(in.byte() % 2) : layer,
                                  request, in.size(200), in.byte(), &error),
               error);
        break;
      case 7:
        expect(dsaperf_cache_add_request(cache, &number, &error), error);
        break;
      default:
        forward(in, in.byte() % 8 == 0 ? small_layer(in.byte() % 2) : layer, cache);
        break;
    }
  }
  dsaperf_cache_destroy(cache);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input in(data, size);
  constexpr void (*kCalls[])(Input&) = {gemm,
                                        rope,
                                        cache_writes,
                                        scores,
                                        top,
                                        selection,
                                        attention,
                                        fp8_gemm,
                                        quantise_groups,
                                        norm,
                                        indexer_quantise,
                                        index_key_cache_write,
                                        gather_index_keys,
                                        gathered_scores,
                                        handle_calls,
                                        handle_calls,
                                        handle_calls,
                                        layer_creation};
  kCalls[in.byte() % std::size(kCalls)](in);
  return 0;
}
