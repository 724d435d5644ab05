#include "dsaperf/predict/layer_predictor.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

// Time of one DSA operator by the stage model, interval included, at distinct points, warm: every
// point is asked once before. Prints one JSON document; benchmarks/predict/speed.py puts
// aiconfigurator's engine beside it on the same points.
//
//   predict_bench POINTS.csv    lines of phase,where,heads,batch,new,past
namespace {

using dsaperf::perfdb::Phase;
using dsaperf::predict::LayerKind;
using dsaperf::predict::LayerPredictor;
using dsaperf::predict::LayerShape;
using dsaperf::predict::Method;
using dsaperf::predict::Tables;
using Clock = std::chrono::steady_clock;

double micros_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

double resident_mib() {
  std::ifstream statm("/proc/self/statm");
  double total = 0;
  double resident = 0;
  statm >> total >> resident;
  return resident * 4096 / (1 << 20);
}

struct Group {
  std::string name;
  std::vector<LayerShape> shapes;
};

std::vector<Group> read_points(const char* path) {
  std::ifstream file(path);
  std::vector<Group> groups;
  std::string phase;
  std::string where;
  LayerShape shape;
  char comma = 0;
  while (std::getline(file, phase, ',') && std::getline(file, where, ',') &&
         file >> shape.heads >> comma >> shape.batch >> comma >> shape.new_tokens >> comma >>
             shape.past_tokens) {
    file.ignore(2, '\n');
    shape.phase = phase == "context" ? Phase::kContext : Phase::kGeneration;
    const auto name = phase + " " + where;
    if (groups.empty() || groups.back().name != name)
      groups.push_back({.name = name, .shapes = {}});
    groups.back().shapes.push_back(shape);
  }
  return groups;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: predict_bench POINTS.csv\n");
    return 2;
  }
  auto tree = dsaperf::perfdb::SystemsTree::discover();
  if (!tree) {
    std::fprintf(stderr, "error: %s\n", tree.error().message().c_str());
    return 1;
  }
  const auto start = Clock::now();
  LayerPredictor predictor(std::make_shared<const dsaperf::perfdb::SystemsTree>(*std::move(tree)),
                           Method::kStages);
  const Tables tables{.system = "h200_sxm", .backend = "sglang", .version = ""};
  const LayerKind kind{.architecture = "DeepseekV32ForCausalLM"};
  const auto layer = predictor.layer(tables, kind);
  for (const auto phase : {Phase::kContext, Phase::kGeneration}) {
    const auto first = layer.at({.phase = phase, .heads = 16, .past_tokens = 100});
    if (!first) {
      std::fprintf(stderr, "error: %s\n", first.error().message().c_str());
      return 1;
    }
  }
  std::printf("{\"load_ms\": %.2f, \"groups\": {", micros_since(start) / 1e3);
  const char* separator = "";
  double sum = 0;  // keeps the answers alive
  for (const auto& group : read_points(argv[1])) {
    constexpr int kRepeats = 5;
    std::vector<double> times;
    for (int repeat = 0; repeat <= kRepeats; ++repeat) {
      const auto from = Clock::now();
      for (const auto& shape : group.shapes) {
        const auto answer = layer.at(shape);
        if (answer) sum += answer->time.value;
      }
      if (repeat > 0)  // the first warms
        times.push_back(micros_since(from) / static_cast<double>(group.shapes.size()));
    }
    std::sort(times.begin(), times.end());
    std::printf("%s\"%s\": {\"points\": %zu, \"us\": %.3f}", separator, group.name.c_str(),
                group.shapes.size(), times[times.size() / 2]);
    separator = ", ";
  }
  std::printf("}, \"resident_mib\": %.1f, \"sum\": %.6g}\n", resident_mib(), sum);
  return 0;
}
