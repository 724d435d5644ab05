// cuBLASLt, opened at the first call of it: its half gigabyte takes 90 ms to load, which a program
// that multiplies nothing on a GPU does not pay, and it need not be there then. Its functions stand
// here under their own names and pass on to the library's; whoever calls them knows nothing of it.
#pragma GCC visibility push(hidden)
#include <cublasLt.h>
#pragma GCC visibility pop

#include <dlfcn.h>

#include <cstdint>

namespace {

// By name, which finds one that is already loaded (torch's); else where the toolkit of the build
// has it.
void* library() {
  static void* const kLibrary = [] {
    void* found = dlopen(DSAPERF_CUBLASLT, RTLD_NOW | RTLD_LOCAL);
    return found != nullptr
               ? found
               : dlopen(DSAPERF_CUDA_LIBRARIES "/" DSAPERF_CUBLASLT, RTLD_NOW | RTLD_LOCAL);
  }();
  return kLibrary;
}

// The library's function of the same name as `kDeclared`; null where there is no library.
template <auto* kDeclared>
auto* function(const char* name) {
  static auto* const kFunction =
      library() == nullptr ? nullptr
                           : reinterpret_cast<decltype(kDeclared)>(dlsym(library(), name));
  return kFunction;
}

template <auto* kDeclared, typename... Arguments>
cublasStatus_t call(const char* name, Arguments... arguments) {
  auto* const found = function<kDeclared>(name);
  return found == nullptr ? CUBLAS_STATUS_NOT_INITIALIZED : found(arguments...);
}

}  // namespace

extern "C" {

const char* cublasLtGetStatusName(cublasStatus_t status) {
  auto* const found = function<&cublasLtGetStatusName>("cublasLtGetStatusName");
  return found == nullptr ? DSAPERF_CUBLASLT " does not load" : found(status);
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  return call<&cublasLtCreate>("cublasLtCreate", handle);
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  return call<&cublasLtDestroy>("cublasLtDestroy", handle);
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* operation,
                                        cublasComputeType_t compute, cudaDataType_t scale) {
  return call<&cublasLtMatmulDescCreate>("cublasLtMatmulDescCreate", operation, compute, scale);
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation) {
  return call<&cublasLtMatmulDescDestroy>("cublasLtMatmulDescDestroy", operation);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t size) {
  return call<&cublasLtMatmulDescSetAttribute>("cublasLtMatmulDescSetAttribute", operation,
                                               attribute, value, size);
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type,
                                          uint64_t rows, uint64_t columns, int64_t stride) {
  return call<&cublasLtMatrixLayoutCreate>("cublasLtMatrixLayoutCreate", layout, type, rows,
                                           columns, stride);
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  return call<&cublasLtMatrixLayoutDestroy>("cublasLtMatrixLayoutDestroy", layout);
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t attribute,
                                                const void* value, size_t size) {
  return call<&cublasLtMatrixLayoutSetAttribute>("cublasLtMatrixLayoutSetAttribute", layout,
                                                 attribute, value, size);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  return call<&cublasLtMatmulPreferenceCreate>("cublasLtMatmulPreferenceCreate", preference);
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  return call<&cublasLtMatmulPreferenceDestroy>("cublasLtMatmulPreferenceDestroy", preference);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, size_t size) {
  return call<&cublasLtMatmulPreferenceSetAttribute>("cublasLtMatmulPreferenceSetAttribute",
                                                     preference, attribute, value, size);
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle,
                                              cublasLtMatmulDesc_t operation,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int asked,
                                              cublasLtMatmulHeuristicResult_t results[],
                                              int* found) {
  return call<&cublasLtMatmulAlgoGetHeuristic>("cublasLtMatmulAlgoGetHeuristic", handle, operation,
                                               a, b, c, d, preference, asked, results, found);
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                              const void* alpha, const void* a, cublasLtMatrixLayout_t a_layout,
                              const void* b, cublasLtMatrixLayout_t b_layout, const void* beta,
                              const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace,
                              size_t workspace_size, cudaStream_t stream) {
  return call<&cublasLtMatmul>("cublasLtMatmul", handle, operation, alpha, a, a_layout, b, b_layout,
                               beta, c, c_layout, d, d_layout, algorithm, workspace, workspace_size,
                               stream);
}

}  // extern "C"
