set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
# The libraries that hold Arrow and OpenBLAS.
set(CMAKE_BUILD_RPATH ${CMAKE_BINARY_DIR}/src/dsaperf/perfdb ${CMAKE_BINARY_DIR}/src/dsaperf/kernels)

# The cache is keyed by content, not by place: a fresh clone finds what another tree compiled.
find_program(DSAPERF_CCACHE ccache)
if(DSAPERF_CCACHE)
  set(cache_launcher ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
                     ${DSAPERF_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${cache_launcher})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${cache_launcher})
endif()

if(DSAPERF_CUDA)
  set(CMAKE_CUDA_ARCHITECTURES 90a-real)
  enable_language(CUDA)
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know nvcc's flag
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  endif()
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
endif()

add_library(dsaperf_warnings INTERFACE)
target_compile_options(
  dsaperf_warnings
  INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
            -Wnon-virtual-dtor> $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # std::stable_sort of libstdc++ 12 calls what libstdc++ 12 deprecates, and clang reports it at the caller.
  target_compile_options(dsaperf_warnings INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-deprecated-declarations>)
endif()

# After the warnings, where files are compiled together: what these two say of a file depends on its neighbours there.
add_library(dsaperf_together INTERFACE)
if(DSAPERF_UNITY)
  target_compile_options(
    dsaperf_together INTERFACE "$<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-shadow;-Wno-subobject-linkage>"
                               "$<$<COMPILE_LANG_AND_ID:CXX,Clang>:-Wno-shadow>")
endif()

# Every .cu: source lines for the profiler; spills and local memory are warnings (errors in presets);
# CuTe calls constexpr host functions from device code.
add_library(dsaperf_cuda_options INTERFACE)
target_compile_options(
  dsaperf_cuda_options
  INTERFACE "$<$<COMPILE_LANGUAGE:CUDA>:-lineinfo;--expt-relaxed-constexpr;-Xptxas=--warn-on-spills,--warn-on-local-memory-usage>")
if(DSAPERF_EVERY_LANE_ARRIVES)  # kernels/sm90/ptx/mbarrier.cuh
  target_compile_definitions(dsaperf_cuda_options INTERFACE DSAPERF_EVERY_LANE_ARRIVES)
endif()
