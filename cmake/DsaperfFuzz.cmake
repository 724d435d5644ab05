# One libFuzzer program and a test that runs it for some seconds (environment DSAPERF_FUZZ_SECONDS, 5 by default).
#
#   dsaperf_fuzz(<name>
#     SOURCES    x_fuzz.cpp          defines LLVMFuzzerTestOneInput
#     USES       trace ...           modules
#     LIBRARIES  ...                 third-party targets
#     SEEDS      corpus/x ...)       folders with inputs to start from, relative to the caller; absent ones are skipped
#
# Does nothing unless DSAPERF_FUZZ. An input that was found becomes a test case of the reader.
function(dsaperf_fuzz name)
  if(NOT DSAPERF_FUZZ)
    return()
  endif()
  cmake_parse_arguments(F "" "" "SOURCES;USES;LIBRARIES;SEEDS" ${ARGN})
  add_executable(${name} ${F_SOURCES})
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  target_link_libraries(${name} PRIVATE dsaperf_warnings ${F_LIBRARIES})
  foreach(used IN LISTS F_USES)
    target_link_libraries(${name} PRIVATE dsaperf_${used})
  endforeach()
  if(NOT TARGET fuzzers)
    add_custom_target(fuzzers)
  endif()
  add_dependencies(fuzzers ${name})

  set(seeds "")
  foreach(folder IN LISTS F_SEEDS)
    get_filename_component(folder ${folder} ABSOLUTE)
    if(IS_DIRECTORY ${folder})
      list(APPEND seeds ${folder})
    endif()
  endforeach()
  set(found ${CMAKE_CURRENT_BINARY_DIR}/${name}.corpus)  # grows from run to run
  file(MAKE_DIRECTORY ${found})
  add_test(NAME ${name} COMMAND ${CMAKE_SOURCE_DIR}/tests/fuzz/run_fuzzer $<TARGET_FILE:${name}> ${found} ${seeds})
  set_tests_properties(${name} PROPERTIES TIMEOUT 600)
endfunction()
