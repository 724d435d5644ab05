#pragma once

#include "dsaperf/serving/pass_model.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::serving {

inline constexpr double kActivationBytes = 2;

using Operators = std::vector<PassOperator>;

// Bytes of a value in a format of the tables.
double bytes_of(const std::string& dtype);

// Writes down one phase of a pass, line by line, in aiconfigurator's order and by its names
// ("context_add_norm_1"); pass_attention.hpp and pass_experts.hpp know what the lines are.
class PassWriter {
 public:
  // A step of decode that verifies draft tokens counts as `steps` without.
  PassWriter(const PassModel::Inputs& inputs, predict::compatible::OperatorSet& set,
             perfdb::Phase phase, double steps);

  const PassModel::Inputs& in;
  const ModelShape& shape;
  const Layout& layout;
  predict::compatible::OperatorSet& set;
  const perfdb::Phase phase;
  const double steps;
  const double layers;  // of all steps

  bool quirk(Quirk q) const { return in.quirks.has(q); }
  bool is_context() const { return phase == perfdb::Phase::kContext; }
  bool is_mla() const { return shape.attention == ModelShape::Attention::kMla; }
  // That all of a prompt's tokens are split over; DSA layers have it in their own operators alone.
  int mla_prompt_ranks() const { return is_mla() && is_context() ? layout.cp : 1; }

  std::string named(std::string_view what) const { return prefix_ + std::string(what); }

  // Operators: made, and not written yet. `count`: how often it occurs in a pass.
  PassOperator memory(std::string_view what, double count, double bytes_per_token) const;
  Result<PassOperator> gemm(std::string_view what, double count, const std::string& dtype, int n,
                            int k);
  // With its weights, which are counted.
  Result<PassOperator> held_gemm(std::string_view what, double count, const std::string& dtype,
                                 int n, int k);
  Result<predict::compatible::CommOperator> all_reduce(int gpus);
  Result<predict::compatible::CommOperator> collective(std::string_view operation, int gpus);
  PassOperator comm(std::string_view what, double count, predict::compatible::CommOperator comm,
                    double elements_per_token) const;

  void add_line(PassOperator op);
  void add_lines(Operators operators);
  void add_attention(PassOperator op);
  // Decode runs them on two streams: the longer group counts.
  void add_overlap(std::string_view what, Operators operators, Operators beside);
  void add_item(PassItem item) { items_.push_back(std::move(item)); }

  // Bytes of weights. They live once, although both phases read them: those of decode do not count.
  void hold(double bytes);

  std::vector<PassItem> take_items() { return std::move(items_); }
  double weight_bytes() const { return weight_bytes_; }

 private:
  predict::compatible::NodeLinks node_links() const;

  std::string prefix_;
  std::vector<PassItem> items_;
  double weight_bytes_ = 0;
};

}  // namespace dsaperf::serving
