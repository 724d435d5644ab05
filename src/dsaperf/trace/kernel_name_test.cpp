#include "dsaperf/trace/kernel_name.hpp"

#include <gtest/gtest.h>

namespace dsaperf::trace {
namespace {

void expect_same(std::string_view a, std::string_view b) {
  EXPECT_EQ(canonical_name(a).key(), canonical_name(b).key()) << a << "\n" << b;
}

TEST(KernelNameTest, NsysAndKinetoAgree) {
  expect_same("void deep_gemm::f<(unsigned int)1, (bool)0, float>(unsigned int, T12 *)",
              "void deep_gemm::f<1u, false, float>(unsigned int, float*)");
  expect_same("<unnamed>::topk_transform_decode_kernel(<unnamed>::FastTopKParams, int *)",
              "(anonymous namespace)::topk_transform_decode_kernel((anonymous "
              "namespace)::FastTopKParams, int*)");
  expect_same(
      "void at::native::vectorized_elementwise_kernel<(int)8, "
      "at::native::FillFunctor<c10::BFloat16>, "
      "std::array<char *, (unsigned long)1>>(int, T2, T3)",
      "void at::native::vectorized_elementwise_kernel<8, at::native::FillFunctor<c10::BFloat16>, "
      "std::array<char*, 1ul> >(int, at::native::FillFunctor<c10::BFloat16>, std::array<char*, "
      "1ul>)");
  expect_same(
      "void <unnamed>::fused_rope_kernel<(bool)0, (long)64, (bool)1, __nv_bfloat16, long, "
      "(unsigned "
      "int)8>(<unnamed>::FusedRopeParams)",
      "void (anonymous namespace)::fused_rope_kernel<false, 64l, true, __nv_bfloat16, long, "
      "8u>((anonymous namespace)::FusedRopeParams)");
}

TEST(KernelNameTest, LambdasAgree) {
  expect_same(
      "void at::native::unrolled_elementwise_kernel<at::native::direct_copy_kernel_cuda("
      "at::TensorIteratorBase &)::[lambda() (instance 3)]::operator ()() const::[lambda() "
      "(instance "
      "7)]::operator ()() const::[lambda(float) (instance 1)], std::array<char *, (unsigned "
      "long)2>>(int, T1)",
      "void at::native::unrolled_elementwise_kernel<at::native::direct_copy_kernel_cuda("
      "at::TensorIteratorBase&)::{lambda()#3}::operator()() const::{lambda()#7}::operator()() "
      "const::{lambda(float)#1}, std::array<char*, 2ul> >(int, float)");
}

TEST(KernelNameTest, MangledAgreesWithDemangled) {
  expect_same("_ZN9deep_gemm4sm904gemmILj1ELb1EfEEvPT1_",
              "void deep_gemm::sm90::gemm<1u, true, float>(float*)");
  EXPECT_EQ(canonical_name("_ZN5aiter24add_rmsnorm_quant_kernelIDF16bDF16bLi64EEEvPT0_").function,
            "aiter::add_rmsnorm_quant_kernel");
  // Beyond the demangler: the identifiers are kept.
  EXPECT_EQ(canonical_name("_ZN7sgl_hip10activation18act_and_mul_kernelI14__hip_bfloat16TnPFT_RKS3_"
                           "EXadL_Z4siluIS2_ES3_S5_EEEEvPS3_PS4_i")
                .function,
            "sgl_hip::activation::act_and_mul_kernel");
}

TEST(KernelNameTest, ReturnTypesAreDropped) {
  EXPECT_EQ(
      canonical_name("std::enable_if<!T7, void>::type internal::gemvx::kernel<int, (bool)0>(T13)"),
      canonical_name("std::enable_if<!(false), void>::type internal::gemvx::kernel<int, "
                     "false>(Params<int>)"));
}

TEST(KernelNameTest, ArgumentsAreKeptAside) {
  const auto name = canonical_name("void a::B<int>::run<(int)4, x::y<const float *>>(int)");
  EXPECT_EQ(name.function, "a::B::run");
  EXPECT_EQ(name.arguments, "int;4,x::y<float*>");
}

TEST(KernelNameTest, GeneratedNamesAreSplitAtTheirVariablePart) {
  const auto expect = [](std::string_view printed, std::string_view function) {
    EXPECT_EQ(canonical_name(printed).function, function) << printed;
  };
  expect("nvjet_sm90_tst_64x8_64x16_4x1_v_bz_splitK_TNT", "nvjet_sm90_tst");
  expect("sm80_xmma_gemm_f32f32_f32f32_f32_tn_n_tilesize64x128x8_stage3_ffma",
         "sm80_xmma_gemm_f32f32_f32f32_f32_tn_n");
  expect(
      "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x192_4x1x1_kernel0_"
      "0",
      "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16");
  expect("Cijk_Alik_Bljk_BBS_BH_Bias_HA_S_SAV_UserArgs_MT256x32x64_MI16x16x1",
         "Cijk_Alik_Bljk_BBS_BH_Bias_HA_S_SAV_UserArgs");
  expect("triton_poi_fused_add_sigmoid_unsqueeze_0", "triton_poi_fused_add_sigmoid_unsqueeze");
  expect("_act_quant_kernel_0d1d2de", "_act_quant_kernel");
  expect("kernel_cutlass_kernel_flashinfernormkernelsrmsnormRMSNormKernel_object_at__tensorptr_0",
         "kernel_cutlass_kernel_flashinfernormkernelsrmsnormRMSNormKernel");
  expect("fused_moe_kernel", "fused_moe_kernel");
  expect("unrolled_kernel_2", "unrolled_kernel_2");
}

TEST(KernelNameTest, CutNamesSayThatTheyAreCut) {
  const auto cut =
      canonical_name("void flash::flash_fwd_splitkv_kernel<Flash_fwd_kernel_traits<(int)1");
  EXPECT_TRUE(cut.cut);
  EXPECT_EQ(cut.function, "flash::flash_fwd_splitkv_kernel");
  EXPECT_FALSE(canonical_name("f<int>(int)").cut);
}

TEST(KernelNameTest, NcuNamesWithoutNamespacesMatch) {
  EXPECT_TRUE(same_function(canonical_name("void Kernel2<cutlass_80_gemm>(Params)"),
                            canonical_name("void cutlass::Kernel2<cutlass_80_gemm>(T1::Params)")));
  EXPECT_FALSE(same_function(canonical_name("a::f<int>(int)"), canonical_name("b::f<int>(int)")));
}

TEST(KernelNameTest, OddNamesSurvive) {
  for (const char* odd : {"",
                          " ",
                          "(",
                          ")",
                          "<",
                          ">",
                          "<>",
                          "()",
                          "a<b",
                          "a>b",
                          "_Z",
                          "_ZN",
                          "_ZN9",
                          "void ",
                          "void",
                          "((((",
                          "f<(",
                          "{lambda(",
                          "[lambda()",
                          "operator()",
                          "a::operator()(int)",
                          "x->y",
                          "_ZN99999999999999999999f"}) {
    const auto name = canonical_name(odd);
    display_name(name);
  }
  EXPECT_EQ(canonical_name("void f").function, "f");
  EXPECT_EQ(canonical_name("plain").key(), "plain");
}

TEST(KernelNameTest, DisplayIsShortAndTells) {
  EXPECT_EQ(
      display_name(canonical_name(
          "void at::native::vectorized_elementwise_kernel<(int)8, "
          "at::native::FillFunctor<c10::BFloat16>, std::array<char *, (unsigned long)1>>(int)")),
      "vectorized_elementwise_kernel: FillFunctor");
  EXPECT_EQ(
      display_name(canonical_name("kernel_cutlass_kernel_flashinfernormkernelsrmsnormRMSNormKernel_"
                                  "object_at__tensorptr_0")),
      "cutlass_dsl RMSNormKernel");
  EXPECT_LE(display_name(canonical_name(std::string(500, 'x')), 40).size(), 40U);
}

}  // namespace
}  // namespace dsaperf::trace
