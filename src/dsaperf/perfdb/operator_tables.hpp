#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/core/units.hpp"
#include "dsaperf/perfdb/dsa_table.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// The tables beside the DSA module's, as typed rows. Each load function reads all sources of a
// table, one after the other (first source counts; within a source the first row, unlike DSA). Text
// is interned: a row holds an index into the table's list of `kinds`.
namespace dsaperf::perfdb {

template <typename Kind, typename Row>
struct OperatorTable {
  std::vector<Kind> kinds;
  std::vector<Row> rows;
  std::vector<TableSource> sources;
};

// gemm_perf: y[m, n] = x[m, k] w[n, k]. Ours have another file name (systems_tree.cpp).
inline constexpr std::string_view kGemmTable = "gemm_perf.parquet";
struct GemmKind {
  std::string gemm_dtype;
  std::string kernel_source;
  bool operator==(const GemmKind&) const = default;
};
struct GemmRow {
  std::int32_t kind = 0, source = 0;
  std::int32_t m = 0, n = 0, k = 0;
  Micros latency;
};
using GemmTable = OperatorTable<GemmKind, GemmRow>;
Result<GemmTable> load_gemm_table(const SystemsTree& tree, std::string_view system,
                                  std::string_view backend, std::string_view version);

// moe_perf: grouped GEMMs of the routed experts.
struct MoeKind {
  std::string moe_dtype;
  std::string distribution;  // "balanced", "power_law_1.01", ...
  std::string kernel_source;
  bool operator==(const MoeKind&) const = default;
};
struct MoeRow {
  std::int32_t kind = 0, source = 0;
  std::int32_t tokens = 0, hidden = 0, inter = 0, topk = 0, experts = 0, moe_tp = 0, moe_ep = 0;
  Micros latency;
};
using MoeTable = OperatorTable<MoeKind, MoeRow>;
// `table`: "moe_perf.parquet", or one of the experts behind DeepEP's exchanges
// ("wideep_context_moe_perf.parquet", "wideep_generation_moe_perf.parquet").
Result<MoeTable> load_moe_table(const SystemsTree& tree, std::string_view system,
                                std::string_view backend, std::string_view version,
                                std::string_view table = "moe_perf.parquet");

// custom_allreduce_perf, nccl_perf, oneccl_perf. The size is a count of elements (half: two bytes
// each).
struct CommKind {
  std::string dtype;  // "half", "bfloat16", "int8"
  std::string
      operation;  // "all_reduce", "all_gather", "reduce_scatter", "alltoall" (nccl: op_name)
  std::string
      variant;  // custom all-reduce: the column backend or implementation; kernel_source apart
  std::string kernel_source;
  bool operator==(const CommKind&) const = default;
};
struct CommRow {
  std::int32_t kind = 0, source = 0;
  std::int32_t gpus = 0;
  std::int64_t elements = 0;
  Micros latency;
};
using CommTable = OperatorTable<CommKind, CommRow>;
Result<CommTable> load_allreduce_table(const SystemsTree& tree, std::string_view system,
                                       std::string_view backend, std::string_view version);
// `library`: "nccl" or "oneccl"; one folder, never filled from others.
Result<CommTable> load_collective_table(const SystemsTree& tree, std::string_view system,
                                        std::string_view library);

// context_mla, generation_mla, mla_context_module, mla_generation_module: attention of MLA models.
// The module tables name the model and its architecture; the kernel tables leave them empty.
struct MlaKind {
  std::string model, architecture;
  std::string mla_dtype, kv_dtype, gemm_dtype;
  std::string kernel_source;
  bool operator==(const MlaKind&) const = default;
};
struct MlaRow {
  std::int32_t kind = 0, source = 0;
  std::int32_t heads = 0, batch = 0, new_tokens = 0, past_tokens = 0;
  Micros latency;
};
using MlaTable = OperatorTable<MlaKind, MlaRow>;
// `table`: the file's name.
Result<MlaTable> load_mla_table(const SystemsTree& tree, std::string_view system,
                                std::string_view backend, std::string_view version,
                                std::string_view table);

// mla_bmm_perf: the absorbed products of decode ("mla_gen_pre", "mla_gen_post").
struct MlaBmmKind {
  std::string bmm_dtype, op_name;
  bool operator==(const MlaBmmKind&) const = default;
};
struct MlaBmmRow {
  std::int32_t kind = 0, source = 0;
  std::int32_t tokens = 0, heads = 0;
  Micros latency;
};
using MlaBmmTable = OperatorTable<MlaBmmKind, MlaBmmRow>;
Result<MlaBmmTable> load_mla_bmm_table(const SystemsTree& tree, std::string_view system,
                                       std::string_view backend, std::string_view version);

// computescale_perf and scale_matrix_perf (quantising a GEMM's input).
struct ScaleKind {
  std::string quant_dtype;
  bool operator==(const ScaleKind&) const = default;
};
struct ScaleRow {
  std::int32_t kind = 0, source = 0;
  std::int32_t m = 0, k = 0;
  Micros latency;
};
using ScaleTable = OperatorTable<ScaleKind, ScaleRow>;
Result<ScaleTable> load_scale_table(const SystemsTree& tree, std::string_view system,
                                    std::string_view backend, std::string_view version,
                                    std::string_view table);

// moe_a2a_perf: dispatch and combine of expert parallelism. (The file counts microseconds.)
struct MoeA2aKind {
  std::string comm_backend, phase, comm_dtype;
  bool operator==(const MoeA2aKind&) const = default;
};
struct MoeA2aRow {
  std::int32_t kind = 0, source = 0;
  std::int32_t ep = 0, nodes = 0, hidden = 0, topk = 0, experts = 0, sms = 0, tokens = 0;
  Micros latency;
};
using MoeA2aTable = OperatorTable<MoeA2aKind, MoeA2aRow>;
Result<MoeA2aTable> load_moe_a2a_table(const SystemsTree& tree, std::string_view system,
                                       std::string_view backend, std::string_view version);

// glm5_mqa_logits_module, glm5_topk_module, glm5_dsa_attn_module: single kernels of the selection,
// measured at 64 heads. Found with the prefix "glm5"; "dsv32" would be DeepSeek-V3.2's.
struct SparseKernelKind {
  std::string kv_dtype, score_mode;  // score_mode ("flat", "top_last") only in the top-k table
  bool operator==(const SparseKernelKind&) const = default;
};
struct SparseKernelRow {
  std::int32_t kind = 0, source = 0;
  std::int32_t heads = 0, batch = 0, new_tokens = 0, past_tokens = 0;
  Micros latency;
};
using SparseKernelTable = OperatorTable<SparseKernelKind, SparseKernelRow>;
Result<SparseKernelTable> load_sparse_kernel_table(const SystemsTree& tree, std::string_view system,
                                                   std::string_view backend,
                                                   std::string_view version,
                                                   std::string_view table);

}  // namespace dsaperf::perfdb
