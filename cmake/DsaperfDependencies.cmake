find_package(fmt REQUIRED)
find_package(tl-expected REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(SQLite3 REQUIRED)
find_package(ZLIB REQUIRED)
find_package(Threads REQUIRED)
find_package(simdjson REQUIRED)
find_package(OpenBLAS CONFIG REQUIRED)
add_library(dsaperf_openblas INTERFACE IMPORTED)
target_include_directories(dsaperf_openblas INTERFACE ${OpenBLAS_INCLUDE_DIRS})
target_link_libraries(dsaperf_openblas INTERFACE ${OpenBLAS_LIBRARIES})
find_package(Eigen3 REQUIRED NO_MODULE)
find_library(DSAPERF_LIBCSV csv REQUIRED)  # Debian's libcsv-dev has neither CMake nor pkg-config files
find_library(DSAPERF_RE2 re2 REQUIRED)    # nor has libre2-dev of Debian 12
find_package(benchmark QUIET)  # for the programs <module>_bench
if(DSAPERF_TESTS)
  find_package(GTest REQUIRED)
endif()

# Python packages installed by scripts/setup; DSAPERF_PYTHON names another environment. A wheel is built with those of
# its own build environment (pyproject.toml).
if(SKBUILD AND NOT DSAPERF_PYTHON)
  set(DSAPERF_PYTHON "${Python_EXECUTABLE}")
endif()
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
dsaperf_python_eval(
  arrow_licences
  "import importlib.metadata as m; print(';'.join(str(f.locate()) for f in m.files('pyarrow') if 'licenses' in f.parts))")
foreach(library arrow parquet)
  file(GLOB shared_object ${arrow_library_dir}/lib${library}.so.*)
  add_library(dsaperf_${library} SHARED IMPORTED)
  set_target_properties(
    dsaperf_${library} PROPERTIES IMPORTED_LOCATION ${shared_object}
                                  INTERFACE_INCLUDE_DIRECTORIES ${arrow_include})
endforeach()

# CUDA parts, each with the headers and the library that it brings. A program may run where there is no
# driver, so libcuda and NVML are opened at run time and only their headers are used here.
#   CUDA::cudart_static                 from the toolkit
#   dsaperf_cublaslt                    cublasLt.h; opened at the first call (kernels/cublaslt.cpp)
#   dsaperf_cuda_driver                 cuda.h, cudaTypedefs.h (cudaGetDriverEntryPoint gives the functions)
#   dsaperf_cupti                       cupti.h and libcupti
#   dsaperf_nvml                        nvml.h; dlopen("libnvidia-ml.so.1")
#   dsaperf_cute                        CuTe and CUTLASS, headers only
if(DSAPERF_CUDA)
  find_package(CUDAToolkit REQUIRED)

  add_library(dsaperf_cuda_driver INTERFACE)
  target_include_directories(dsaperf_cuda_driver SYSTEM INTERFACE ${CUDAToolkit_INCLUDE_DIRS})

  add_library(dsaperf_cublaslt INTERFACE)
  target_link_libraries(dsaperf_cublaslt INTERFACE dsaperf_cuda_driver ${CMAKE_DL_LIBS})

  find_path(DSAPERF_CUPTI_INCLUDE cupti.h REQUIRED HINTS ${CUDAToolkit_INCLUDE_DIRS}
            PATHS ${CUDAToolkit_TARGET_DIR}/extras/CUPTI/include)
  find_library(DSAPERF_CUPTI_LIBRARY cupti REQUIRED HINTS ${CUDAToolkit_LIBRARY_DIR}
               PATHS ${CUDAToolkit_TARGET_DIR}/extras/CUPTI/lib64)
  add_library(dsaperf_cupti INTERFACE)
  target_include_directories(dsaperf_cupti SYSTEM INTERFACE ${DSAPERF_CUPTI_INCLUDE})
  target_link_libraries(dsaperf_cupti INTERFACE ${DSAPERF_CUPTI_LIBRARY} CUDA::cudart_static)

  # pip's own build environment has no headers for CUDA: those of scripts/setup do.
  dsaperf_python_eval(site_packages "import sysconfig; print(sysconfig.get_path('purelib'))")
  file(GLOB of_setup ${CMAKE_SOURCE_DIR}/build/venv/lib/python3*/site-packages)
  list(APPEND site_packages ${of_setup})
  set(nvml_folders ${site_packages})
  list(TRANSFORM nvml_folders APPEND /nvidia/cu13/include)
  find_path(DSAPERF_NVML_INCLUDE nvml.h HINTS ${CUDAToolkit_INCLUDE_DIRS} PATHS ${nvml_folders})
  list(TRANSFORM site_packages APPEND /cutlass_library/source/include)
  find_path(DSAPERF_CUTLASS_INCLUDE cute/tensor.hpp PATHS ${site_packages})
  if(NOT DSAPERF_NVML_INCLUDE OR NOT DSAPERF_CUTLASS_INCLUDE)
    message(FATAL_ERROR "no nvml.h or no cute/tensor.hpp, which the GPU modules need: run scripts/setup")
  endif()
  add_library(dsaperf_nvml INTERFACE)
  target_include_directories(dsaperf_nvml SYSTEM INTERFACE ${DSAPERF_NVML_INCLUDE})
  target_link_libraries(dsaperf_nvml INTERFACE ${CMAKE_DL_LIBS})

  add_library(dsaperf_cute INTERFACE)
  target_include_directories(dsaperf_cute SYSTEM INTERFACE ${DSAPERF_CUTLASS_INCLUDE})
  target_link_libraries(dsaperf_cute INTERFACE dsaperf_cuda_driver)
endif()
