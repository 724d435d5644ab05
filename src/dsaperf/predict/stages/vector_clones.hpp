#pragma once

// Compiles a function for AVX2 with FMA too, and takes that where the processor has it. Not with
// sanitizers, whose runtimes are not up yet when the choice is made.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define DSAPERF_VECTOR_CLONES __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define DSAPERF_VECTOR_CLONES
#endif
