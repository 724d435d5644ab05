#include "dsaperf/predict/stages/part_model.hpp"

#include "dsaperf/predict/stages/host_time.hpp"
#include "dsaperf/predict/stages/nnls.hpp"
#include "dsaperf/predict/stages/stage_bound.hpp"
#include "dsaperf/predict/stages/testing/card.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace dsaperf::predict::stages {
namespace {

using testing::card;

Setting decode_setting() {
  return *make_setting(card(), {.architecture = "DeepseekV32ForCausalLM"},
                       perfdb::Phase::kGeneration, Regime::kSparse, true);
}

// A latency that a stage model can follow, with a smooth bend that it cannot.
double smooth_ms(const Setting& setting, const Sizes& sizes) {
  const auto values = term_values(setting, sizes);
  const double ms = values[0] + 2 * values[5] + 1.5 * values[13] + values[17];
  return ms * (1 + 0.05 * std::sin(std::log2(sizes.past_tokens)));
}

// Few rows: a fit takes their cube, and ten times that under ASan.
std::vector<Observation> smooth_table(const Setting& setting) {
  std::vector<Observation> rows;
  for (const double heads : {8, 32, 128}) {
    for (const double batch : {1, 4, 16, 32}) {
      for (double past = 2048; past <= 131072; past *= 2) {
        const Sizes sizes{.heads = heads, .batch = batch, .new_tokens = 1, .past_tokens = past};
        rows.push_back({.sizes = sizes, .latency_ms = smooth_ms(setting, sizes)});
      }
    }
  }
  return rows;
}

TEST(NnlsTest, FindsTheWeightsOfASumWithoutNegativeOnes) {
  Eigen::MatrixXd a(5, 3);
  a << 1, 0, 2, 0, 1, 1, 3, 1, 0, 2, 2, 1, 1, 5, 1;
  const Eigen::Vector3d x(0.5, 0, 2);
  const Eigen::VectorXd b = a * x;
  const auto found = non_negative_least_squares(a.transpose() * a, a.transpose() * b);
  EXPECT_NEAR((found - x).norm(), 0, 1e-6);
  // The unconstrained answer has a negative weight here.
  const Eigen::VectorXd other = a * Eigen::Vector3d(1, -1, 1);
  EXPECT_GE(non_negative_least_squares(a.transpose() * a, a.transpose() * other).minCoeff(), 0);
}

TEST(TermsTest, GrowWithEverySize) {
  for (const auto phase : {perfdb::Phase::kContext, perfdb::Phase::kGeneration}) {
    for (const auto regime : {Regime::kDense, Regime::kSparse}) {
      const auto setting =
          *make_setting(card(), {.architecture = "GlmMoeDsaForCausalLM"}, phase, regime, true);
      const Sizes small =
          regime == Regime::kDense
              ? Sizes{.heads = 16, .batch = 2, .new_tokens = 64, .past_tokens = 256}
              : Sizes{.heads = 16, .batch = 2, .new_tokens = 64, .past_tokens = 8192};
      for (double Sizes::* axis :
           {&Sizes::heads, &Sizes::batch, &Sizes::new_tokens, &Sizes::past_tokens}) {
        Sizes larger = small;
        larger.*axis *= 2;
        const auto before = term_values(setting, small);
        const auto after = term_values(setting, larger);
        for (std::size_t i = 0; i < terms(phase, regime).size(); ++i) {
          EXPECT_GE(after[i], before[i] * (1 - 1e-12)) << terms(phase, regime)[i].name;
        }
      }
    }
  }
}

// Terms of a quantity are added up in another order: a few roundings of positive addends.
TEST(TermsTest, TheSumIsThatOfTheTermsByTheirWeights) {
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> octaves(0, 12);
  const auto size = [&] { return std::floor(std::exp2(octaves(random))); };
  for (const auto phase : {perfdb::Phase::kContext, perfdb::Phase::kGeneration}) {
    for (const auto regime : {Regime::kDense, Regime::kSparse}) {
      for (const bool own_indexer : {true, false}) {
        const auto setting = *make_setting(card(), {.architecture = "GlmMoeDsaForCausalLM"}, phase,
                                           regime, own_indexer);
        const SettingTerms terms_of(setting);
        StageWeights weights;
        for (std::size_t i = 0; i < terms(phase, regime).size(); ++i)
          weights.terms.push_back(i % 3 == 1 ? 0 : octaves(random));
        const TermSum sum(terms_of, weights.terms);
        for (int i = 0; i < 50; ++i) {
          const Sizes sizes{
              .heads = size(), .batch = size(), .new_tokens = size(), .past_tokens = size()};
          const double due = weights.kernels_ms(terms_of.values(sizes));
          EXPECT_NEAR(sum.ms(sizes), due, 1e-13 * due);
        }
      }
    }
  }
}

TEST(RowIndexTest, FindsEveryRowAndNothingElse) {
  const auto rows = smooth_table(decode_setting());
  const RowIndex index(rows);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(index.find(rows, rows[i].sizes), i);
    auto beside = rows[i].sizes;
    beside.past_tokens += 1;
    EXPECT_EQ(index.find(rows, beside), std::nullopt);
  }
  const std::vector<Observation> none;
  EXPECT_EQ(RowIndex(none).find(none, rows[0].sizes), std::nullopt);
}

// Both know all rows: what is inverted once and what is solved for the point are one posterior, but
// for the conditioning of the covariance.
TEST(NeighbourhoodsTest, AnswerAsTheProcessDoesFromTheSameRows) {
  for (const auto phase : {perfdb::Phase::kContext, perfdb::Phase::kGeneration}) {
    const bool decode = phase == perfdb::Phase::kGeneration;
    const auto setting = *make_setting(card(), {.architecture = "DeepseekV32ForCausalLM"}, phase,
                                       Regime::kSparse, true);
    std::vector<Coordinates> at;
    std::vector<double> observed;
    for (const double heads : {8, 32, 128}) {
      for (const double batch : {1, 4}) {
        for (double past = 2048; past <= 1048576; past *= 2) {
          const Sizes sizes{.heads = heads,
                            .batch = batch,
                            .new_tokens = decode ? 1.0 : 16.0,
                            .past_tokens = past};
          at.push_back(coordinates(setting, sizes));
          observed.push_back(std::sin(std::log2(past)) / heads);
        }
      }
    }
    ASSERT_LE(at.size(), Neighbourhoods::kMost);
    Hyperparameters hyper{.signal = 0.2, .noise = 0.01};
    for (std::size_t a = 0; a < (decode ? 3U : 6U); ++a) {
      hyper.length[a] = 2;
      if (a < kStepAxes) hyper.step[a] = 0.3;
    }
    const NearestProcess process(at, observed, hyper, NearestProcess::kMaxNeighbours);
    const Neighbourhoods neighbourhoods(process);
    for (const double past : {2048.0, 3000.0, 700000.0, 4e6}) {
      const auto point = coordinates(
          setting,
          {.heads = 16, .batch = 4, .new_tokens = decode ? 1.0 : 16.0, .past_tokens = past});
      const auto due = process.posterior(point);
      const auto answer = neighbourhoods.at(process, point);
      EXPECT_NEAR(answer.mean, due.mean, 1e-10);
      EXPECT_NEAR(answer.variance, due.variance, 1e-10);
    }
  }
}

TEST(PartModelTest, PredictsWhatWasLeftOutWithinItsInterval) {
  const auto setting = decode_setting();
  const auto rows = smooth_table(setting);
  const auto parameters = PartModel::fit(setting, rows);
  const PartModel model(setting, rows, parameters);
  int inside = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto p = model.without(i);
    EXPECT_NEAR(p.latency_ms / rows[i].latency_ms, 1, 0.03) << i;
    inside += p.low_ms <= rows[i].latency_ms && rows[i].latency_ms <= p.high_ms ? 1 : 0;
  }
  EXPECT_GT(inside, static_cast<int>(rows.size()) * 8 / 10);
}

TEST(PartModelTest, ARowThatItsNeighboursContradictBendsNothingBesideIt) {
  const auto setting = decode_setting();
  auto rows = smooth_table(setting);
  const Sizes outlier{.heads = 32, .batch = 4, .new_tokens = 1, .past_tokens = 16384};
  for (auto& row : rows)
    if (row.sizes.axes() == outlier.axes()) row.latency_ms *= 1.8;
  const PartModel model(setting, rows, PartModel::fit(setting, rows));
  ASSERT_TRUE(model.is_contradicted(*model.find(outlier)));
  for (const double past : {12000.0, 16383.0, 16385.0, 24000.0}) {
    Sizes beside = outlier;
    beside.past_tokens = past;
    EXPECT_NEAR(model.at(beside).latency_ms / smooth_ms(setting, beside), 1, 0.05) << past;
  }
}

TEST(PartModelTest, WidensTheIntervalAwayFromTheRows) {
  const auto setting = decode_setting();
  const auto rows = smooth_table(setting);
  const PartModel model(setting, rows, PartModel::fit(setting, rows));
  const auto width = [&](double past) {
    const auto p = model.at({.heads = 16, .batch = 4, .new_tokens = 1, .past_tokens = past});
    return std::log(p.high_ms / p.low_ms);
  };
  // Between rows the bend alone is unknown, far away the whole process is.
  EXPECT_GT(width(4'000'000), 2 * width(6000));
}

// The table is smooth in every size: where it is 5 % off what terms can follow, halfway between two
// lengths is halfway along the bend, not a step of its own.
TEST(PartModelTest, FindsNoStepsInASmoothTable) {
  const auto setting = decode_setting();
  const auto rows = smooth_table(setting);
  const auto parameters = PartModel::fit(setting, rows);
  for (std::size_t a = 0; a < 3; ++a) EXPECT_LT(parameters.hyper.step[a], 0.1) << a;
  const PartModel model(setting, rows, parameters);
  for (std::size_t i = 0; i + 1 < rows.size(); ++i) {
    if (rows[i].sizes.past_tokens > rows[i + 1].sizes.past_tokens) continue;
    auto between = rows[i].sizes;
    between.past_tokens = std::sqrt(between.past_tokens * rows[i + 1].sizes.past_tokens);
    EXPECT_NEAR(model.at(between).latency_ms / smooth_ms(setting, between), 1, 0.015) << i;
  }
}

TEST(PartModelTest, TheSplitAddsUpToTheStageModel) {
  const auto setting = decode_setting();
  const auto rows = smooth_table(setting);
  const PartModel model(setting, rows, PartModel::fit(setting, rows));
  const Sizes sizes{.heads = 24, .batch = 5, .new_tokens = 1, .past_tokens = 9000};
  double sum = 0;
  for (const double ms : model.split(sizes)) {
    EXPECT_GE(ms, 0);
    sum += ms;
  }
  EXPECT_NEAR(sum / model.at(sizes).stage_ms, 1, 1e-9);
}

// All rows cached before the pass are beyond either topk: what attention takes goes with topk, and
// so does its bound; the indexer sees every token as before.
TEST(PartModelTest, AnotherTopkScalesAttentionAlone) {
  const auto setting = *make_setting(card(), {.architecture = "DeepseekV32ForCausalLM"},
                                     perfdb::Phase::kContext, Regime::kSparse, true);
  std::vector<Observation> rows;
  for (const double heads : {16, 32, 64, 128}) {
    for (const double new_tokens : {64, 256, 1024, 4096}) {
      for (const double past : {4096, 16384, 65536}) {
        const Sizes sizes{
            .heads = heads, .batch = 1, .new_tokens = new_tokens, .past_tokens = past};
        const auto values = term_values(setting, sizes);
        rows.push_back({.sizes = sizes,
                        .latency_ms = values[4] + values[6] + 1.2 * values[16] + 3 * values[20]});
      }
    }
  }
  const PartModel model(setting, rows, PartModel::fit(setting, rows));
  const Sizes sizes{.heads = 16, .batch = 1, .new_tokens = 1024, .past_tokens = 16384};
  const auto list = terms(setting.phase, setting.regime);
  const auto attention = static_cast<std::size_t>(model::Stage::kAttention);
  const auto base = model.at(sizes);
  double before = 0;
  for (const double topk : {512.0, 1024.0, 2048.0, 4096.0, 16384.0}) {
    auto other = setting;
    other.topk = topk;
    const double ratio = topk / setting.topk;
    const auto own = model.split(sizes);
    const auto changed = model.split(sizes, other);
    double difference = 0;
    for (std::size_t i = 0; i < own.size(); ++i) {
      const bool scales = list[i].stage == model::Stage::kAttention;
      EXPECT_NEAR(changed[i], own[i] * (scales ? ratio : 1), 1e-9 * changed[i]) << list[i].name;
      difference += changed[i] - own[i];
    }
    EXPECT_NEAR(stage_bounds(other, sizes)[attention].math_ms,
                stage_bounds(setting, sizes)[attention].math_ms * ratio, 1e-9);
    const auto p = model.moved(base, sizes, other);
    EXPECT_NEAR(p.latency_ms / base.latency_ms, 1 + difference / base.stage_ms, 1e-6);
    EXPECT_GT(p.latency_ms, before);
    EXPECT_GE(std::log(p.high_ms / p.low_ms), std::log(base.high_ms / base.low_ms) - 1e-12);
    before = p.latency_ms;
  }
}

TEST(PartModelTest, TheFitIsDeterministic) {
  const auto setting = decode_setting();
  const auto rows = smooth_table(setting);
  const auto a = PartModel::fit(setting, rows);
  const auto b = PartModel::fit(setting, rows);
  EXPECT_EQ(a.hyper.length, b.hyper.length);
  EXPECT_EQ(a.calibration.body.between, b.calibration.body.between);
}

TEST(WidthsTest, AnAxisWhoseValueWasNotMeasuredHasAWidthOfItsOwn) {
  Calibration::Sort sort;
  sort.knots = {{{.variance = 0.01, .width = 1},
                 {.variance = 0.1, .width = 2},
                 {.variance = 0.5, .width = 3}}};
  sort.between = {4, 7, 6, 5};
  const Widths widths(sort);
  EXPECT_EQ(widths.at(0.001, {}), 1);
  EXPECT_EQ(widths.at(0.9, {}), 3);
  EXPECT_EQ(widths.at(0.001, {true, false, false, false}), 4);
  EXPECT_EQ(widths.at(0.001, {true, false, true, true}), 6);
}

// 24 heads and 3,000 cached tokens lie in cells; 2 heads in none.
TEST(PartModelTest, IntervalsBetweenValuesOfAnAxisGoWithItsWidth) {
  const auto setting = decode_setting();
  const auto rows = smooth_table(setting);
  auto parameters = PartModel::fit(setting, rows);
  parameters.calibration.body.between = parameters.calibration.edge.between = {2, 2, 2, 2};
  const PartModel narrow(setting, rows, parameters);
  parameters.calibration.body.between[0] = parameters.calibration.edge.between[0] = 6;
  const PartModel wide(setting, rows, parameters);
  const auto ratio = [&](const Sizes& sizes) {
    const auto a = narrow.at(sizes);
    const auto b = wide.at(sizes);
    return std::log(b.high_ms / b.latency_ms) / std::log(a.high_ms / a.latency_ms);
  };
  const auto& row = rows[rows.size() / 2].sizes;
  Sizes heads = row;
  heads.heads = 24;
  EXPECT_NEAR(ratio(heads), 3, 1e-9);
  heads.heads = 2;
  EXPECT_NEAR(ratio(heads), 3, 1e-9);
  Sizes past = row;
  past.past_tokens += 1;
  EXPECT_NEAR(ratio(past), 1, 1e-12);
}

// Widths are measured on intervals of the process itself, those of cells are made from the ends of
// each axis.
TEST(PartModelTest, IntervalsInACellAreAsWideAsTheProcessHasThem) {
  const auto setting = decode_setting();
  PartParameters parameters;
  parameters.hyper.length = {3, 3, 3};
  parameters.hyper.step = {0.5, 0.5, 0.5, 0};
  parameters.hyper.signal = 0.05;
  parameters.hyper.noise = 0.002;
  const PartModel model(setting, smooth_table(setting), parameters);
  const PartModel::Without process(model, std::nullopt, model.weights());
  const auto half = [](const PartPrediction& p) { return std::log(p.high_ms / p.latency_ms); };
  for (const Sizes& sizes :
       {Sizes{.heads = 16, .batch = 4, .new_tokens = 1, .past_tokens = 8192},
        Sizes{.heads = 32, .batch = 8, .new_tokens = 1, .past_tokens = 8192},
        Sizes{.heads = 32, .batch = 4, .new_tokens = 1, .past_tokens = 11584}}) {
    EXPECT_NE(model.at(sizes).low_ms, model.at_neighbourhood(sizes).low_ms);  // in a cell
    EXPECT_NEAR(half(model.at(sizes)) / half(process.at(sizes)), 1, 0.12)
        << sizes.heads << ' ' << sizes.batch << ' ' << sizes.past_tokens;
  }
}

// Sparse prefill launched kernel by kernel: what the host needs, or what the kernels do.
std::vector<Observation> eager_table(const Setting& setting, double floor) {
  std::vector<Observation> rows;
  for (const double heads : {16, 32, 64, 128}) {
    for (const double batch : {1, 16, 256, 1024}) {
      for (const double new_tokens : {4, 32, 256}) {
        for (const double past : {4096, 16384, 65536}) {
          const Sizes sizes{
              .heads = heads, .batch = batch, .new_tokens = new_tokens, .past_tokens = past};
          const auto values = term_values(setting, sizes);
          const double gpu = values[4] + values[6] + 2 * values[17] + 3 * values[20];
          const double host =
              floor + 1.5 * score_pieces_ms(setting, sizes) + 0.5 * contexts_ms(setting, sizes);
          rows.push_back({.sizes = sizes, .latency_ms = with_host_time(host, gpu)});
        }
      }
    }
  }
  return rows;
}

TEST(HostTimeTest, IsTheLongerOfTwoAndComesApartAgain) {
  EXPECT_DOUBLE_EQ(with_host_time(0, 3), 3);
  EXPECT_NEAR(with_host_time(1, 5), 5, 2e-3);
  EXPECT_NEAR(with_host_time(5, 1), 5, 2e-3);
  EXPECT_NEAR(without_host_time(2, with_host_time(2, 1.5)), 1.5, 1e-12);
  EXPECT_EQ(without_host_time(2, 1.9), 0);
  EXPECT_DOUBLE_EQ(host_share(2, 2), 0.5);
}

TEST(HostTimeTest, FindsTheFloorOfRowsWhoseKernelsAreShort) {
  const auto setting = *make_setting(card(), {.architecture = "DeepseekV32ForCausalLM"},
                                     perfdb::Phase::kContext, Regime::kSparse, true);
  EXPECT_NEAR(host_floor(setting, eager_table(setting, 1.5)), 1.5, 0.1);
  // A tenth of what any framework needs: a replayed graph.
  EXPECT_EQ(host_floor(setting, eager_table(setting, 0.15)), 0);
}

// A host that takes twice as long changes what waits for it, and nothing else: the answers are
// compared with the table of such a host.
// vLLM's tables of prefill have 0 and 128 cached tokens: a host whose work grows with the new ones
// looks as if it grew with all that are cached.
TEST(HostTimeTest, GrowsNotWithPrefixesThatATableHasNot) {
  const auto setting = *make_setting(card(), {.architecture = "DeepseekV32ForCausalLM"},
                                     perfdb::Phase::kContext, Regime::kSparse, true);
  std::vector<Observation> rows;
  for (const double heads : {8, 32, 128}) {
    for (const double batch : {1, 2, 4}) {
      for (double fresh = 2048; fresh <= 16384; fresh *= 2) {
        for (const double past : {0, 128}) {
          const Sizes sizes{
              .heads = heads, .batch = batch, .new_tokens = fresh, .past_tokens = past};
          const double kernels = term_values(setting, sizes)[17] * 1.5;
          rows.push_back(
              {.sizes = sizes, .latency_ms = with_host_time(1.5 + 5e-4 * sizes.tokens(), kernels)});
        }
      }
    }
  }
  const auto weights = fit_weights(setting, rows, 1.5);
  const Sizes turn{.heads = 32, .batch = 1, .new_tokens = 16, .past_tokens = 100000};
  EXPECT_LT(with_host_time(weights.host_ms(setting, turn, 1.5),
                           weights.kernels_ms(term_values(setting, turn))),
            3);
}

TEST(HostTimeTest, MovesRowsToAnotherHost) {
  const auto setting = *make_setting(card(), {.architecture = "DeepseekV32ForCausalLM"},
                                     perfdb::Phase::kContext, Regime::kSparse, true);
  const auto rows = eager_table(setting, 1.5);
  const PartModel model(setting, rows, PartModel::fit(setting, rows, 1.5));
  auto slow = setting;
  slow.host_launch = 2;
  for (const auto& row : rows) {
    const auto values = term_values(setting, row.sizes);
    const double gpu = values[4] + values[6] + 2 * values[17] + 3 * values[20];
    const double host = 2 * (1.5 + 1.5 * score_pieces_ms(setting, row.sizes) +
                             0.5 * contexts_ms(setting, row.sizes));
    const auto p = model.moved(model.at(row.sizes), row.sizes, slow);
    EXPECT_NEAR(p.latency_ms / with_host_time(host, gpu), 1, 0.1)
        << row.sizes.heads << ' ' << row.sizes.batch << ' ' << row.sizes.new_tokens << ' '
        << row.sizes.past_tokens;
  }
}

// By hand, for a decode step of 4 requests on 16 heads over 8,192 tokens (docs/formulas.md).
TEST(StageBoundTest, IsThatOfTheFormulas) {
  const auto bounds = stage_bounds(decode_setting(),
                                   {.heads = 16, .batch = 4, .new_tokens = 1, .past_tokens = 8191});
  const auto at = [&](model::Stage stage) { return bounds[static_cast<std::size_t>(stage)]; };
  const double t = 4;
  const double weight = 1 + 4.0 / (128 * 128);
  const double v_up = 16 * 512 * 128 * weight + 2 * t * 16 * (512 + 128);
  EXPECT_NEAR(at(model::Stage::kVUp).memory_ms, v_up / 4.8e12 * 1e3, 1e-12);
  EXPECT_GT(at(model::Stage::kVUp).memory_ms, at(model::Stage::kVUp).math_ms);
  const double pairs = t * 2048;
  EXPECT_NEAR(at(model::Stage::kAttention).math_ms, 2 * 16 * (576 + 512) * pairs / 9.89e14 * 1e3,
              1e-9);
  EXPECT_NEAR(at(model::Stage::kIndexerScores).math_ms, 2 * 64 * 128 * t * 8192 / 1.978e15 * 1e3,
              1e-9);
}

}  // namespace
}  // namespace dsaperf::predict::stages
