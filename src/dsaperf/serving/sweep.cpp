#include "dsaperf/serving/sweep.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/serving/step_times.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <ranges>

namespace dsaperf::serving {
namespace {

constexpr std::array kSizes = {1, 2, 4, 8, 16};
constexpr std::size_t kRowsATarget = 10;

// Requests of a rank that are tried.
std::vector<double> batches(int most) {
  std::vector<double> list;
  const auto add = [&](int begin, int end, int step) {
    for (int b = begin; b < end; b += step)
      if (b <= most) list.push_back(b);
  };
  add(1, 16, 1);
  add(16, 32, 4);
  add(32, 64, 8);
  add(64, 256, 16);
  add(256, 512, 32);
  add(512, 1024, 256);
  return list;
}

// Chunks that aiconfigurator tries without chunked prefill: multiples of the prompt.
std::vector<double> chunks(double isl) {
  constexpr double kNormal = 8192;
  const double largest = std::max(kNormal, 2 * isl);
  const double stride = std::max(isl, 512.0);
  const double large = std::ceil(std::max({1024.0, 512.0, std::floor(largest / 8)}) / isl) * isl;
  std::vector<double> list;
  double next = stride;
  while (next <= largest) {
    list.push_back(next);
    next += next < kNormal ? stride : large;
  }
  for (const double c : {isl, 2 * isl})
    if (std::find(list.begin(), list.end(), c) == list.end()) list.push_back(c);
  std::sort(list.begin(), list.end());
  return list;
}

double rounded(double value) {
  return std::round(value * 1000) / 1000;
}

// TPOT limits under which aiconfigurator keeps the ten best rows of a layout each; what is on its
// front depends on them.
std::vector<double> tpot_targets() {
  std::vector<double> list;
  for (int t = 1; t < 20; ++t) list.push_back(t);
  for (int t = 20; t < 300; t += 5) list.push_back(t);
  return list;
}

class Sweeper {
 public:
  Sweeper(const model::ModelSpec& spec, const SweepInputs& inputs) : spec_(spec), in_(inputs) {
    out_.inputs = inputs;
    out_.model = spec.name;
  }

  Result<void> run(Engine engine, predict::compatible::OperatorSet& set) {
    set_ = &set;
    out_.system = set.system().name;
    DSAPERF_TRY_ASSIGN(shape_, ModelShape::of(spec_));
    for (const Layout& layout : layouts(engine, shape_, in_.gpus, compatible())) {
      const auto points = price(engine, layout);
      if (!points) {
        out_.rejected.push_back({engine, layout.text(), points.error().message()});
        continue;
      }
      take(engine, layout, *points);
    }
    return {};
  }

  SweepResult result() {
    std::stable_sort(out_.candidates.begin(), out_.candidates.end(),
                     [&](const Candidate& a, const Candidate& b) {
                       if (a.meets_limits != b.meets_limits) return a.meets_limits;
                       return a.tok_s_per_cluster_gpu(in_.gpus) > b.tok_s_per_cluster_gpu(in_.gpus);
                     });
    out_.pareto = front();
    return std::move(out_);
  }

  void warn(std::string text) { out_.warnings.push_back(std::move(text)); }

 private:
  bool compatible() const { return in_.method == Method::kCompatible; }

  Formats formats(Engine engine) const {
    FormatChoice choice = in_.formats;
    if (choice.kv.empty() && !compatible() && shape_.attention == ModelShape::Attention::kDsa)
      choice.kv = default_kv(engine, set_->system().sm_version, shape_.architecture);
    return formats_of(spec_, choice, compatible());
  }

  // Where DeepEP's exchanges were measured for a layout, aiconfigurator's sweep takes them.
  Result<PassModel> passes(Engine engine, const Layout& layout) {
    PassModel::Inputs inputs{.shape = shape_,
                             .layout = layout,
                             .formats = formats(engine),
                             .engine = engine,
                             .quirks = compatible() ? Quirks::all() : Quirks::none()};
    inputs.deepep = compatible() && engine == Engine::kSglang &&
                    shape_.attention == ModelShape::Attention::kDsa && layout.moe_tp == 1 &&
                    layout.moe_ep % set_->system().gpus_per_node == 0;
    if (inputs.deepep) {
      if (auto model = PassModel::make(inputs, *set_)) return model;
      inputs.deepep = false;
    }
    return PassModel::make(inputs, *set_);
  }

  // All operating points of a layout that fit. `stop_` says what ended the list.
  Result<std::vector<Candidate>> price(Engine engine, const Layout& layout) {
    DSAPERF_TRY(check_layout(spec_, layout));
    DSAPERF_TRY_ASSIGN(const auto model, passes(engine, layout));
    const Workload work{.isl = in_.isl, .osl = in_.osl, .prefix = in_.prefix};
    double room = std::numeric_limits<double>::infinity();  // requests the cache holds
    std::vector<double> chunk_list = chunks(in_.isl);
    if (!compatible()) {
      const double chunk =
          engine == Engine::kSglang ? std::max(std::floor(8192.0 / layout.dp), 1.0) : 8192;
      chunk_list = {chunk};
      const auto fits =
          capacity(spec_, model.inputs(), set_->system(), set_->version(),
                   {.isl = in_.isl, .osl = in_.osl, .chunk = chunk, .draft_tokens = 0}, {});
      if (!fits.fits) return fail(Errc::kOutOfMemory, "{}", fits.reason);
      room = fits.cache_requests;
    }
    std::vector<Candidate> points;
    std::vector<double> seen_decode_requests;
    memory_ends_ = false;
    for (const double batch : batches(in_.most_requests)) {
      for (const double chunk : chunk_list) {
        const double prompts = std::ceil(chunk / in_.isl);
        if (compatible() && (batch < prompts || (batch > 1 && batch - prompts < 1))) break;
        if (compatible() && repeats(batch, chunk, seen_decode_requests)) continue;
        DSAPERF_TRY_ASSIGN(auto form,
                           in_flight(model, set_->system(), set_->version(), work, batch, chunk));
        ++out_.points;
        if (compatible() ? form.fit != Fit::kFits : batch > room) {
          memory_ends_ = true;
          break;
        }
        if (!compatible()) add_host(engine, model, work, form);
        points.push_back({.engine = engine,
                          .version = set_->version(),
                          .layout = layout,
                          .formats = model.inputs().formats,
                          .batch = batch,
                          .chunk = chunk,
                          .workers = in_.gpus / layout.gpus(),
                          .form = std::move(form),
                          .meets_limits = false,
                          .binds = {}});
      }
      if (memory_ends_ && !compatible()) break;
    }
    if (points.empty())
      return fail(Errc::kOutOfMemory,
                  "a worker of {} GPUs does not hold one request of {:.0f} + {:.0f} tokens",
                  layout.gpus(), in_.isl, in_.osl);
    for (Candidate& point : points)
      point.meets_limits =
          point.form.ttft_ms <= in_.ttft_limit_ms && point.form.tpot_ms <= in_.tpot_limit_ms;
    return points;
  }

  // aiconfigurator prices points whose steps would hold as many decode requests as one before only
  // once.
  bool repeats(double batch, double chunk, std::vector<double>& seen) const {
    const double balance = in_.isl * batch / chunk / in_.osl;
    if (balance <= 1) return false;
    const double decoding = std::floor(batch / balance);
    if (decoding > 1 && std::find(seen.begin(), seen.end(), decoding) != seen.end()) return true;
    seen.push_back(decoding);
    return false;
  }

  // The closed form of the kernels, with the host's part (a simulation of each point would take
  // seconds).
  void add_host(Engine engine, const PassModel& model, const Workload& work,
                ClosedForm& form) const {
    const HostCosts host = host_costs(engine);
    const double layers = model.inputs().shape.layers;
    const double prefill = host.launch_us / 1000 * layers;
    const double decode = host.graph_gap_us / 1000 * layers;
    const double steps = form.mixed_steps + form.decode_steps;
    if (steps <= 0) return;
    const double before =
        form.mixed_steps * form.context.ms + form.decode_steps * form.generation.ms;
    const double after = before + form.mixed_steps * prefill + form.decode_steps * decode;
    form.ttft_ms += prefill + host_delay_ms(host, work.isl);
    form.tpot_ms *= before > 0 ? after / before : 1;
    form.request_ms = form.ttft_ms + form.tpot_ms * std::max(work.osl - 1, 0.0);
    form.output_tok_s *= before / after;
    form.request_s *= before / after;
  }

  void take(Engine engine, const Layout& layout, const std::vector<Candidate>& points) {
    const auto better = [&](const Candidate& a, const Candidate& b) {
      if (a.meets_limits != b.meets_limits) return b.meets_limits;
      return a.tok_s_per_gpu() < b.tok_s_per_gpu();
    };
    Candidate best = *std::max_element(points.begin(), points.end(), better);
    if (best.meets_limits) {
      best.binds = binding(best, points);
      out_.candidates.push_back(best);
    } else {
      const auto least = *std::min_element(
          points.begin(), points.end(),
          [](const auto& a, const auto& b) { return a.form.tpot_ms < b.form.tpot_ms; });
      out_.rejected.push_back(
          {engine, layout.text(),
           fmt::format(
               "at best {:.0f} ms to the first token and {:.1f} ms a token, beyond the limits",
               least.form.ttft_ms, least.form.tpot_ms)});
    }
    keep_for_front(points);
  }

  std::string binding(const Candidate& best, const std::vector<Candidate>& points) const {
    for (const Candidate& point : points) {
      if (point.batch <= best.batch || point.chunk != best.chunk) continue;
      if (point.form.tpot_ms > in_.tpot_limit_ms) return "tpot";
      if (point.form.ttft_ms > in_.ttft_limit_ms) return "ttft";
      return "throughput";  // more requests would not bring more
    }
    return memory_ends_ ? "memory" : "batch";
  }

  void keep_for_front(const std::vector<Candidate>& points) {
    if (!compatible()) {
      for (const Candidate& point : points)
        if (point.form.ttft_ms <= in_.ttft_limit_ms) all_.push_back(point);
      return;
    }
    std::vector<bool> kept(points.size(), false);
    for (const double target : tpot_targets()) {
      std::vector<std::size_t> rows;
      for (std::size_t i = 0; i < points.size(); ++i)
        if (points[i].form.tpot_ms <= target && points[i].form.ttft_ms <= in_.ttft_limit_ms)
          rows.push_back(i);
      std::stable_sort(rows.begin(), rows.end(), [&](std::size_t a, std::size_t b) {
        return rounded(points[a].form.request_s) > rounded(points[b].form.request_s);
      });
      if (rows.size() > kRowsATarget) rows.resize(kRowsATarget);
      for (const std::size_t row : rows) kept[row] = true;
    }
    for (std::size_t i = 0; i < points.size(); ++i)
      if (kept[i]) all_.push_back(points[i]);
  }

  // Points that no other beats in both.
  std::vector<Candidate> front() {
    const auto user = [](const Candidate& c) { return rounded(c.tok_s_per_user()); };
    const auto gpu = [&](const Candidate& c) { return rounded(c.tok_s_per_cluster_gpu(in_.gpus)); };
    std::stable_sort(all_.begin(), all_.end(), [&](const Candidate& a, const Candidate& b) {
      return user(a) != user(b) ? user(a) < user(b) : gpu(a) < gpu(b);
    });
    std::vector<Candidate> front;
    double best = -1;
    for (const Candidate& candidate : std::ranges::reverse_view(all_)) {
      if (gpu(candidate) <= best) continue;
      best = gpu(candidate);
      front.push_back(candidate);
    }
    std::reverse(front.begin(), front.end());
    return front;
  }

  const model::ModelSpec& spec_;
  const SweepInputs& in_;
  predict::compatible::OperatorSet* set_ = nullptr;
  ModelShape shape_;
  bool memory_ends_ = false;
  std::vector<Candidate> all_;
  SweepResult out_;
};

}  // namespace

std::vector<Layout> layouts(Engine engine, const ModelShape& shape, int gpus,
                            bool with_context_parallel) {
  std::vector<Layout> list;
  const bool glm = shape.architecture == "GlmMoeDsaForCausalLM";
  for (const int tp : kSizes) {
    for (const int dp : kSizes) {
      for (const int moe_tp : kSizes) {
        for (const int moe_ep : kSizes) {
          for (const int cp : kSizes) {
            const Layout layout{.tp = tp, .dp = dp, .moe_tp = moe_tp, .moe_ep = moe_ep, .cp = cp};
            if (layout.gpus() > gpus || tp * dp * cp != moe_tp * moe_ep) continue;
            if (engine == Engine::kTrtllm && dp > 1 && tp > 1) continue;
            if (engine == Engine::kVllm && moe_tp > 1 && moe_ep > 1) continue;
            const bool may_split =
                with_context_parallel && engine == Engine::kSglang && glm && tp == 1 && dp == 1;
            if (cp > 1 && (!may_split || cp > 8)) continue;
            list.push_back(layout);
          }
        }
      }
    }
  }
  return list;
}

Result<SweepResult> sweep(const model::ModelSpec& spec, const std::vector<Engine>& engines,
                          const OpenTables& open, const SweepInputs& inputs) {
  Sweeper sweeper(spec, inputs);
  bool any = false;
  for (const Engine engine : engines) {
    auto set = open(engine);
    if (!set) {
      sweeper.warn(fmt::format("{} is left out: {}", name(engine), set.error().message()));
      continue;
    }
    DSAPERF_TRY(sweeper.run(engine, *set));
    any = true;
  }
  if (!any) return fail(Errc::kNotFound, "no backend has tables for this system");
  return sweeper.result();
}

std::string launch_command(const Candidate& c, const std::string& model) {
  const auto& l = c.layout;
  const double requests = c.batch * l.dp;
  switch (c.engine) {
    case Engine::kSglang: {
      std::string text = fmt::format("python3 -m sglang.launch_server --model-path {} --tp-size {}",
                                     model, l.tp * l.dp);
      if (l.dp > 1) text += fmt::format(" --dp-size {} --enable-dp-attention", l.dp);
      if (l.moe_ep > 1) text += fmt::format(" --ep-size {}", l.moe_ep);
      if (l.pp > 1) text += fmt::format(" --pp-size {}", l.pp);
      return text +
             fmt::format(
                 " --kv-cache-dtype {} --chunked-prefill-size {:.0f} --max-running-requests {:.0f}",
                 c.formats.kv == "fp8" ? "fp8_e4m3" : "bfloat16", c.chunk * l.dp, requests);
    }
    case Engine::kVllm: {
      std::string text = fmt::format("vllm serve {} --tensor-parallel-size {}", model, l.tp);
      if (l.dp > 1) text += fmt::format(" --data-parallel-size {}", l.dp);
      if (l.moe_ep > 1) text += " --enable-expert-parallel";
      if (l.pp > 1) text += fmt::format(" --pipeline-parallel-size {}", l.pp);
      return text +
             fmt::format(
                 " --kv-cache-dtype {} --max-num-batched-tokens {:.0f} --max-num-seqs {:.0f}",
                 c.formats.kv == "fp8" ? "fp8" : "auto", c.chunk + c.batch, c.batch);
    }
    case Engine::kTrtllm: {
      std::string text =
          fmt::format("trtllm-serve {} --tp_size {} --ep_size {}", model, l.tp * l.dp, l.moe_ep);
      if (l.pp > 1) text += fmt::format(" --pp_size {}", l.pp);
      text += fmt::format(" --max_num_tokens {:.0f} --max_batch_size {:.0f}", c.chunk + c.batch,
                          c.batch);
      return l.dp > 1
                 ? text + " --extra_llm_api_options attention_dp.yaml  # enable_attention_dp: true"
                 : text;
    }
  }
  return "";
}

}  // namespace dsaperf::serving
