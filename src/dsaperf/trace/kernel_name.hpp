#pragma once

#include <string>
#include <string_view>

namespace dsaperf::trace {

// One form of a kernel's name whatever tool printed it.
//
//   _ZN9deep_gemm9sm90_gemmILj1EEEvPf                          mangled
//   void deep_gemm::sm90_gemm<(unsigned int)1>(float *)        nsys
//   void deep_gemm::sm90_gemm<1u>(float*)                      Kineto
//
// are all function deep_gemm::sm90_gemm with arguments 1. Return type and parameters are dropped,
// and so are anonymous namespaces, casts and suffixes of literals, const, and notations of lambdas.
// Names without template arguments are split where their variable part begins: the tile of a
// generated GEMM (nvjet_sm90_tst | 64x8_64x16_4x1_v_bz_TNT), the number and specialisation that
// Triton appends, the tensor layouts that the CUTLASS DSL appends.
struct KernelName {
  std::string function;
  std::string arguments;  // "" where there are none
  bool cut = false;       // the tool that wrote it cut the name

  // The whole canonical name: function<arguments>.
  std::string key() const;
  // What stands after the last "::" of the function.
  std::string_view base() const;

  bool operator==(const KernelName&) const = default;
};

KernelName canonical_name(std::string_view printed);

// A mangled name as a program would print it; any other name as it is.
std::string demangled_name(std::string_view printed);

// For tables: the function without the namespaces that say little, with what tells it from its
// siblings ("elementwise: FillFunctor"), at most `width` characters.
std::string display_name(const KernelName& name, std::size_t width = 60);

// Whether the two stand for one kernel, be it in other template arguments or another tile. A cut
// name, and one without namespaces (ncu prints none), is compared by what it has.
bool same_function(const KernelName& a, const KernelName& b);

}  // namespace dsaperf::trace
