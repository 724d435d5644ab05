#include "dsaperf/collect/method_csv.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/perfdb/own_table.hpp"
#include "dsaperf/perfdb/table_dtype.hpp"

namespace dsaperf::collect {
namespace {

bool has_line(const Case& what) {
  const bool context = what.phase == perfdb::Phase::kContext;
  return what.uniform() && (context || what.requests.front().new_tokens == 1) &&
         what.scores == ScoreDistribution::kModelLike;
}

// What the format can't say and the lines have in common.
struct Unsaid {
  Launch launch = Launch::kEager;
  model::WeightFormat gemm = model::WeightFormat::kBf16;

  explicit Unsaid(const std::map<std::string, Entry>& entries) {
    for (const auto& [id, entry] : entries) {
      if (!entry.error.empty() || !entry.what.whole() || !has_line(entry.what)) continue;
      if (entry.what.launch == Launch::kGraph) launch = Launch::kGraph;
      if (entry.what.gemm != model::WeightFormat::kBf16) gemm = entry.what.gemm;
    }
  }
  bool goes_with(const Case& what) const { return what.launch == launch && what.gemm == gemm; }
};

std::string op_name(const Case& what) {
  std::string name = "dsa_" + std::string(perfdb::name(what.phase));
  if (what.role == model::IndexerRole::kShared) name += "_skip_indexer";
  return name;
}

}  // namespace

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
  const Unsaid unsaid(entries);
  for (const auto& [id, entry] : entries) {
    const auto& what = entry.what;
    const bool context = what.phase == perfdb::Phase::kContext;
    if (!entry.error.empty() || !what.whole()) continue;
    if (!has_line(what) || !unsaid.goes_with(what)) {
      ++result.left_out;
      continue;
    }
    const auto& group = what.requests.front();
    csv.field(header.source.framework)
        .field(header.source.version)
        .field(header.source.device)
        .field(op_name(what))
        .field(perfdb::marked_kernel(entry.measurement.kernel_source, entry.composed))
        .field(perfdb::table_dtype(model::name(what.kv)))
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
