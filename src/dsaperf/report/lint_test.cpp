#include "dsaperf/report/lint.hpp"

#include "dsaperf/cost/system_spec.hpp"

#include <gtest/gtest.h>

namespace dsaperf::report {
namespace {

perfdb::DsaSlice v32_slice() {
  return {.model = "deepseek-ai/DeepSeek-V3.2",
          .architecture = "DeepseekV32ForCausalLM",
          .mla_dtype = "bfloat16",
          .kv_dtype = "bfloat16",
          .gemm_dtype = "fp8_block",
          .op_name = {},
          .kernel_source = {},
          .shares_selection = false};
}

// One new token after 2047 is attended to over latent rows as well, which moves less than keys and
// values expanded from all rows do; a long prompt from nothing is cheaper with expanded ones.
TEST(LintPhysicsTest, TheBoundOfAShortPromptHoldsHoweverItIsAttendedTo) {
  const auto system = cost::find_system(DSAPERF_SOURCE_DIR "/data", "h200_sxm");
  ASSERT_TRUE(system) << system.error().message();
  const auto bound = lint_physics(*system).bound;
  const auto of = [&](perfdb::Phase phase, std::int32_t new_tokens, std::int32_t past_tokens) {
    perfdb::DsaRow row;
    row.heads = 128;
    row.batch = 1;
    row.new_tokens = new_tokens;
    row.past_tokens = past_tokens;
    return bound(v32_slice(), phase, row);
  };
  using enum perfdb::Phase;
  EXPECT_EQ(of(kContext, 1, 2047), of(kGeneration, 1, 2047));
  EXPECT_LT(of(kContext, 2048, 0), of(kGeneration, 2048, 0));
}

}  // namespace
}  // namespace dsaperf::report
