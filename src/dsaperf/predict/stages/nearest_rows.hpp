#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/predict/stages/loaded_parts.hpp"
#include "dsaperf/predict/stages/question.hpp"

#include <memory>
#include <string>
#include <vector>

namespace dsaperf::predict::stages {

// The rows that answer for a kind of layer: its own, else those of the nearest kind that has rows
// of the regime. Several parts where several kernels serve it.
struct NearestRows {
  std::vector<LoadedPart*> candidates;  // none: no rows of the regime
  double doubt = 0;                     // half-width in log, for what differs
  std::string text;                     // what differs; empty: they are its own
};
NearestRows nearest_rows(LoadedParts& loaded, const Question& question);

// How a question differs from the rows that answer it.
struct Moved {
  Setting setting;       // of the question
  bool resized = false;  // by another topk or other index heads alone: the rows are its own
  double doubt = 0;
  std::string text;
  std::string note;  // what the answer takes for granted
};

// Of a request in decode, whose rows have one.
inline bool has_several_tokens(const Question& question, const LoadedPart& rows) {
  return question.shape.phase == perfdb::Phase::kGeneration && question.sizes.new_tokens > 1 &&
         rows.measured.high.new_tokens <= 1;
}

// Whether rows are not of just such layers as the question's, another topk or other index heads
// aside.
inline bool are_others(const NearestRows& nearest, const LoadedPart& rows,
                       const Question& question) {
  return has_several_tokens(question, rows) || question.move != nullptr || !nearest.text.empty() ||
         question.layer.sizes.has_value();
}

// For a question that differs: `rows` is the one of `nearest` that answers, `figures` are of the
// rows' card.
Result<std::unique_ptr<const Moved>> moved_from(const NearestRows& nearest, const LoadedPart& rows,
                                                const Question& question,
                                                const perfdb::SystemFile& figures);

}  // namespace dsaperf::predict::stages
