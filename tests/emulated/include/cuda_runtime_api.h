#pragma once

#include "emulated_cuda.hpp"

// Stands in for CUDA's header where device code is compiled for the host.
enum cudaError_t { cudaSuccess };
struct CUstream_st;
using cudaStream_t = CUstream_st*;
