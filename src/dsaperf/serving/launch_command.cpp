#include "dsaperf/serving/launch_command.hpp"

#include "dsaperf/core/fail.hpp"

#include <string>

namespace dsaperf::serving {
namespace {

std::string worker_command(const Candidate& c, const Layout& l,
                           const std::optional<double>& largest_graph, const std::string& model) {
  const double requests = c.batch * l.dp;
  switch (c.engine) {
    case Engine::kSglang: {
      std::string text = fmt::format("python3 -m sglang.launch_server --model-path {} --tp-size {}",
                                     model, l.tp * l.dp);
      if (l.dp > 1) text += fmt::format(" --dp-size {} --enable-dp-attention", l.dp);
      if (l.moe_ep > 1) text += fmt::format(" --ep-size {}", l.moe_ep);
      if (l.pp > 1) text += fmt::format(" --pp-size {}", l.pp);
      if (largest_graph) text += fmt::format(" --cuda-graph-max-bs {:.0f}", *largest_graph);
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
                 c.formats.kv == "fp8" ? "fp8" : "bfloat16", c.chunk + c.batch, c.batch);
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

}  // namespace

std::string launch_command(const Candidate& candidate, const std::string& model) {
  const auto decode = worker_command(candidate, candidate.layout, candidate.largest_graph, model);
  if (!candidate.prefill) return decode;
  const auto prefill =
      worker_command(candidate, candidate.prefill->layout, candidate.prefill->largest_graph, model);
  switch (candidate.engine) {
    case Engine::kSglang:
      return prefill + " --disaggregation-mode prefill\n" + decode +
             " --disaggregation-mode decode";
    case Engine::kVllm: {
      constexpr auto kTransfer =
          R"( --kv-transfer-config '{{"kv_connector":"NixlConnector","kv_role":"{}"}}')";
      return prefill + fmt::format(kTransfer, "kv_producer") + "\n" + decode +
             fmt::format(kTransfer, "kv_consumer");
    }
    case Engine::kTrtllm:
      return "# context server of trtllm-serve disaggregated\n" + prefill +
             "\n# generation server\n" + decode;
  }
  return decode;
}

}  // namespace dsaperf::serving
