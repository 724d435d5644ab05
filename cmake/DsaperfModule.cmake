# One folder under src/dsaperf = one module = one static library.
#
#   dsaperf_module(<name>
#     SOURCES    x.cpp ...           library sources
#     HEADERS    x.hpp ...           public headers; each is compiled alone
#     USES       core model ...      modules whose headers it may include (tests/architecture checks)
#     LIBRARIES  nlohmann_json::...  third-party targets, private
#     TESTS      x_test.cpp ...      host tests, one program <name>_test
#     BENCHES    x_bench.cpp ...     Google Benchmark, one program <name>_bench, built when asked for
#     CUDA_USES      gpu             modules used only with DSAPERF_CUDA
#     CUDA_SOURCES   x.cu y.cpp ...  compiled only with DSAPERF_CUDA, which sources see as
#                                    DSAPERF_WITH_CUDA=1 (0 without)
#     CUDA_HEADERS   y.hpp ...       public headers that include CUDA's
#     CUDA_LIBRARIES dsaperf_cute dsaperf_cublaslt ...   private, only with DSAPERF_CUDA
#     GPU_TESTS  x_gpu_test.cpp ...  tests that need a GPU, one program <name>_gpu_test)
function(dsaperf_module name)
  cmake_parse_arguments(
    M "" "" "SOURCES;HEADERS;USES;LIBRARIES;TESTS;BENCHES;CUDA_USES;CUDA_SOURCES;CUDA_HEADERS;CUDA_LIBRARIES;GPU_TESTS" ${ARGN})
  set(target dsaperf_${name})
  set(has_cuda_part FALSE)
  if(DSAPERF_CUDA AND (M_CUDA_SOURCES OR M_CUDA_HEADERS))
    set(has_cuda_part TRUE)
    list(APPEND M_USES ${M_CUDA_USES})
    list(APPEND M_SOURCES ${M_CUDA_SOURCES})
    list(APPEND M_HEADERS ${M_CUDA_HEADERS})
    list(APPEND M_LIBRARIES ${M_CUDA_LIBRARIES} dsaperf_cuda_options)
  endif()
  add_library(${target} STATIC ${M_SOURCES})
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${DSAPERF_UNITY})
  target_sources(${target} PUBLIC FILE_SET HEADERS BASE_DIRS ${CMAKE_SOURCE_DIR}/src FILES ${M_HEADERS})
  target_link_libraries(${target} PUBLIC tl::expected)
  foreach(used IN LISTS M_USES)
    target_link_libraries(${target} PUBLIC dsaperf_${used})
  endforeach()
  target_link_libraries(${target} PRIVATE dsaperf_warnings dsaperf_together ${M_LIBRARIES})
  target_compile_definitions(${target} PRIVATE DSAPERF_WITH_CUDA=$<BOOL:${DSAPERF_CUDA}>)
  if(has_cuda_part)
    target_link_libraries(${target} PUBLIC CUDA::cudart_static)
  endif()
  set_target_properties(${target} PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)

  if(DSAPERF_TESTS AND M_TESTS)
    add_executable(${name}_test ${M_TESTS})
    target_link_libraries(${name}_test PRIVATE ${target} dsaperf_warnings ${M_LIBRARIES} dsaperf_test_main
                                               GTest::gmock)
    target_compile_definitions(${name}_test PRIVATE DSAPERF_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                                                    DSAPERF_WITH_CUDA=$<BOOL:${DSAPERF_CUDA}>)
    gtest_discover_tests(${name}_test DISCOVERY_TIMEOUT 60)
  endif()
  if(M_BENCHES AND benchmark_FOUND)
    add_executable(${name}_bench EXCLUDE_FROM_ALL ${M_BENCHES})
    target_link_libraries(${name}_bench PRIVATE ${target} dsaperf_warnings ${M_LIBRARIES} benchmark::benchmark_main)
    target_compile_definitions(${name}_bench PRIVATE DSAPERF_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  endif()
  if(DSAPERF_TESTS AND DSAPERF_CUDA AND M_GPU_TESTS)
    add_executable(${name}_gpu_test ${M_GPU_TESTS})
    target_link_libraries(${name}_gpu_test PRIVATE ${target} dsaperf_warnings ${M_LIBRARIES} dsaperf_test_main
                                                   GTest::gmock)
    add_test(NAME ${name}_gpu_test COMMAND ${name}_gpu_test)
    set_tests_properties(${name}_gpu_test PROPERTIES LABELS needs-gpu RESOURCE_LOCK gpu)
  endif()
endfunction()
