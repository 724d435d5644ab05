#include "dsaperf/predict/stages/nearest_rows.hpp"

#include "dsaperf/core/fail.hpp"

#include <array>
#include <cmath>
#include <string_view>
#include <utility>

namespace dsaperf::predict::stages {
namespace {

// Half-widths in log that a move to another kind of layer adds. Assumed, not measured yet: wide
// enough to say that the answer is a guess across kinds (docs/predict.md, "Cards without a table").
constexpr double kOtherCache = 0.15;
constexpr double kOtherGemm = 0.2;
constexpr double kOtherArchitecture = 0.2;
constexpr double kOtherAttention = 0.2;
constexpr double kSeveralTokens = 0.1;  // of decode, whose rows have one token a request

struct Difference {
  double doubt = 0;
  std::string text;
};

Difference difference(const LayerKind& rows, const LayerKind& asked) {
  Difference all;
  double squares = 0;
  const auto compare = [&](const std::string& of_rows, const std::string& of_asked,
                           std::string_view what, double doubt) {
    if (of_rows == of_asked) return;
    squares += doubt * doubt;
    all.text += fmt::format("{}{} {}", all.text.empty() ? "" : ", ", what, of_rows);
  };
  compare(rows.architecture, asked.architecture, "architecture", kOtherArchitecture);
  compare(rows.kv_dtype, asked.kv_dtype, "cache", kOtherCache);
  compare(rows.gemm_dtype, asked.gemm_dtype, "GEMMs", kOtherGemm);
  compare(rows.fmha_dtype, asked.fmha_dtype, "attention", kOtherAttention);
  all.doubt = std::sqrt(squares);
  return all;
}

}  // namespace

NearestRows nearest_rows(LoadedParts& loaded, const Question& question) {
  NearestRows best;
  const LayerKind* kind = nullptr;  // of the best
  for (auto& rows : loaded.parts) {
    const auto& part = rows.part;
    if (part.shares_selection != question.shares_selection ||
        part.setting.regime != question.regime())
      continue;
    if (kind != nullptr && part.kind == *kind) {
      best.candidates.push_back(&rows);
      continue;
    }
    auto [doubt, text] = difference(part.kind, question.layer);
    if (kind != nullptr && doubt >= best.doubt) continue;
    kind = &part.kind;
    best = {.candidates = {&rows}, .doubt = doubt, .text = std::move(text)};
  }
  return best;
}

Result<std::unique_ptr<const Moved>> moved_from(const NearestRows& nearest, const LoadedPart& rows,
                                                const Question& question,
                                                const perfdb::SystemFile& figures) {
  const auto* move = question.move;
  auto moved = std::make_unique<Moved>();
  auto& setting = moved->setting;
  DSAPERF_TRY_ASSIGN(setting, make_setting(move != nullptr ? move->card : figures, question.layer,
                                           question.shape.phase, question.regime(),
                                           rows.part.setting.own_indexer));
  moved->resized = !are_others(nearest, rows, question);
  moved->doubt = nearest.doubt;
  setting.topk = question.topk();
  setting.index_heads = question.index_heads();
  if (question.regime() == Regime::kSparse && question.total() <= question.topk()) {
    setting.topk = question.total();
    moved->note = fmt::format(
        "topk {:.0f} selects all {:.0f} tokens: of the sparse kernels; a framework may take its "
        "dense ones there",
        question.topk(), question.total());
  }
  if (!nearest.text.empty()) moved->text = "rows of " + nearest.text;
  if (move != nullptr) {
    moved->doubt = std::hypot(moved->doubt, move->doubt);
    setting.host_launch = move->host_launch;
    moved->text = move->text + (moved->text.empty() ? "" : ", " + moved->text);
  }
  if (has_several_tokens(question, rows)) {
    moved->doubt = std::hypot(moved->doubt, kSeveralTokens);
    moved->text += fmt::format("{}rows of one token a request", moved->text.empty() ? "" : ", ");
  }
  return moved;
}

}  // namespace dsaperf::predict::stages
