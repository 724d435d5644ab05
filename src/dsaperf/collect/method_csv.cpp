#include "dsaperf/collect/method_csv.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/perfdb/own_table.hpp"

namespace dsaperf::collect {

MethodCsv method_csv(const JournalHeader& header, const std::map<std::string, Entry>& entries,
                     const model::LayerPlan& layer) {
  MethodCsv result;
  CsvWriter csv;
  for (const char* column :
       {"framework", "version", "device", "op_name", "kernel_source", "dsa_dtype", "num_heads",
        "index_n_heads", "index_topk", "batch_size", "isl", "tp_size", "step", "latency"}) {
    csv.field(column);
  }
  csv.end_row();
  for (const auto& [id, entry] : entries) {
    const auto& what = entry.what;
    const bool context = what.phase == perfdb::Phase::kContext;
    if (!entry.error.empty() || !what.whole()) continue;
    if (!what.uniform() || (!context && what.requests.front().new_tokens != 1) ||
        what.scores != ScoreDistribution::kModelLike) {
      ++result.left_out;
      continue;
    }
    const auto& group = what.requests.front();
    csv.field(header.source.framework)
        .field(header.source.version)
        .field(header.source.device)
        .field(context ? "dsa_context" : "dsa_generation")
        .field(perfdb::marked_kernel(entry.measurement.kernel_source, entry.composed))
        .field(what.kv == model::KvFormat::kBf16 ? "bfloat16" : "fp8")
        .field(what.heads)
        .field(layer.indexer ? layer.indexer->heads : 0)
        .field(layer.indexer ? layer.indexer->topk : 0)
        .field(group.count)
        .field(context ? group.new_tokens : group.past_tokens)
        .field(layer.geometry.heads / what.heads)
        .field(context ? group.past_tokens : 1)
        .field(entry.measurement.warm.median.millis());
    csv.end_row();
    ++result.rows;
  }
  result.text = csv.text();
  return result;
}

}  // namespace dsaperf::collect
