#include "dsaperf/serving/pass_writer.hpp"

#include <utility>

namespace dsaperf::serving {
namespace {

namespace compatible = predict::compatible;

constexpr double kTrtllmDecodeDiscount = 0.9;

double discount(const PassModel::Inputs& in, perfdb::Phase phase) {
  const bool is_discounted = in.exchanges() && in.engine == Engine::kTrtllm &&
                             phase == perfdb::Phase::kGeneration &&
                             in.quirks.has(Quirk::kDecodeDiscount);
  return is_discounted ? kTrtllmDecodeDiscount : 1;
}

}  // namespace

double bytes_of(const std::string& dtype) {
  const auto traits = compatible::dtype_traits(dtype);
  return traits ? traits->bytes : 0.5;  // the formats that only MoE tables know are four bits wide
}

PassWriter::PassWriter(const PassModel::Inputs& inputs, compatible::OperatorSet& operators,
                       perfdb::Phase of, double steps_of_pass)
    : in(inputs),
      shape(inputs.shape),
      layout(inputs.layout),
      set(operators),
      phase(of),
      steps(steps_of_pass),
      layers(inputs.shape.layers * steps_of_pass * discount(inputs, of)),
      prefix_(std::string(perfdb::name(of)) + "_") {
}

PassOperator PassWriter::memory(std::string_view what, double count, double bytes_per_token) const {
  const double fixed = set.memory_ms(0);
  return {.name = named(what),
          .count = count,
          .kind = MemoryOperator{.ms_per_token = set.memory_ms(bytes_per_token) - fixed,
                                 .ms_fixed = fixed,
                                 .bound_ms_per_token = bytes_per_token / set.system().mem_bw * 1e3,
                                 .prompt_ranks = mla_prompt_ranks()}};
}

Result<PassOperator> PassWriter::gemm(std::string_view what, double count, const std::string& dtype,
                                      int n, int k) {
  PassOperator op{.name = named(what), .count = count, .kind = MemoryOperator{}};
  auto made = set.gemm(dtype, n, k,
                       quirk(Quirk::kHostTimeInGemms) ? compatible::GemmTimes::kAsMeasured
                                                      : compatible::GemmTimes::kOfKernels);
  if (!made) return tl::unexpected(std::move(made).error().with_context(op.name));
  op.kind = GemmUse{.gemm = *std::move(made), .prompt_ranks = mla_prompt_ranks()};
  return op;
}

Result<PassOperator> PassWriter::held_gemm(std::string_view what, double count,
                                           const std::string& dtype, int n, int k) {
  hold(count * n * k * bytes_of(dtype));
  return gemm(what, count, dtype, n, k);
}

compatible::NodeLinks PassWriter::node_links() const {
  return quirk(Quirk::kLinksOfOneGpu) ? compatible::NodeLinks::kOfOneGpu
                                      : compatible::NodeLinks::kOfAllGpus;
}

Result<compatible::CommOperator> PassWriter::all_reduce(int gpus) {
  return set.all_reduce(gpus, node_links());
}

Result<compatible::CommOperator> PassWriter::collective(std::string_view operation, int gpus) {
  return set.collective(operation, gpus, node_links());
}

PassOperator PassWriter::comm(std::string_view what, double count, compatible::CommOperator comm,
                              double elements_per_token) const {
  CommUse use;
  use.steps.push_back({.comm = std::move(comm), .elements_per_token = elements_per_token});
  return {.name = named(what), .count = count, .kind = std::move(use)};
}

void PassWriter::add_line(PassOperator op) {
  PassItem item;
  item.name = op.name;
  item.operators.push_back(std::move(op));
  add_item(std::move(item));
}

void PassWriter::add_lines(Operators operators) {
  for (auto& op : operators) add_line(std::move(op));
}

void PassWriter::add_attention(PassOperator op) {
  add_line(std::move(op));
  items_.back().is_attention = true;
}

void PassWriter::add_overlap(std::string_view what, Operators operators, Operators beside) {
  add_item({.name = named(what), .operators = std::move(operators), .beside = std::move(beside)});
}

void PassWriter::hold(double bytes) {
  if (is_context()) weight_bytes_ += bytes;
}

}  // namespace dsaperf::serving
