#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/dsa_table.hpp"

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::perfdb {

// What the one-line-a-case CSV of the collectors does not say of its rows.
struct MethodSubject {
  std::string model;         // "deepseek-ai/DeepSeek-V3.2"
  std::string architecture;  // "DeepseekV32ForCausalLM"
  std::string gemm_dtype;    // of the projections, as AIConfigurator spells it
  int heads = 0;             // of the whole model; tp_size has to go with it
  int index_heads = 0;
  int topk = 0;
};

struct MethodTables {
  std::string framework;
  std::string version;
  std::string device;
  DsaTable context;
  DsaTable generation;
  std::size_t other_rows = 0;         // of operators that are not DSA layers
  std::vector<std::string> warnings;  // rows that were left out, with their lines
};

// Reads
//   framework,version,device,op_name,kernel_source,dsa_dtype,num_heads,index_n_heads,index_topk,
//   batch_size,isl,tp_size,step,latency
// Context rows: isl = new tokens, step = cached tokens. Generation rows: isl = tokens in the cache
// and step = 1, or as in AIConfigurator's newer tables isl = 1 and step = tokens in the cache.
// Latency in ms. Columns are found by name, spaces around names and values apart; others are
// ignored. A file of lines alone has its columns in this order.
//
// Of rows with the same sizes the last counts, with a warning that names both lines.
// A row without a usable number is left out with a warning; one whose heads, index heads or topk
// are not the model's is an error, since then it is of another model, and so is a second framework,
// version or device.
Result<MethodTables> read_method_csv(const std::filesystem::path& path,
                                     const MethodSubject& subject);
Result<MethodTables> parse_method_csv(std::string_view text, const MethodSubject& subject);

}  // namespace dsaperf::perfdb
