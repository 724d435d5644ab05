#pragma once
// Stands in for CUDA's header where device code is compiled for the host.
struct CUtensorMap {};
