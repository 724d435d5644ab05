find_package(fmt REQUIRED)
find_package(tl-expected REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(SQLite3 REQUIRED)
find_package(ZLIB REQUIRED)
find_package(Threads REQUIRED)
find_package(simdjson REQUIRED)
find_package(Eigen3 REQUIRED NO_MODULE)
if(DSAPERF_TESTS)
  find_package(GTest REQUIRED)
endif()

# Python packages installed by scripts/setup; DSAPERF_PYTHON names another environment.
set(DSAPERF_PYTHON "${CMAKE_SOURCE_DIR}/build/venv/bin/python3" CACHE FILEPATH
    "Python with pyarrow (Arrow C++) and nvidia-cutlass")

function(dsaperf_python_eval result code)
  execute_process(COMMAND ${DSAPERF_PYTHON} -c "${code}" OUTPUT_VARIABLE value RESULT_VARIABLE status
                  OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${DSAPERF_PYTHON} lacks a package; run scripts/setup. (${code})")
  endif()
  set(${result} "${value}" PARENT_SCOPE)
endfunction()

dsaperf_python_eval(arrow_include "import pyarrow; print(pyarrow.get_include())")
dsaperf_python_eval(arrow_library_dir "import pyarrow; print(pyarrow.get_library_dirs()[0])")
foreach(library arrow parquet)
  file(GLOB shared_object ${arrow_library_dir}/lib${library}.so.*)
  add_library(dsaperf_${library} SHARED IMPORTED)
  set_target_properties(
    dsaperf_${library} PROPERTIES IMPORTED_LOCATION ${shared_object}
                                  INTERFACE_INCLUDE_DIRECTORIES ${arrow_include})
endforeach()
