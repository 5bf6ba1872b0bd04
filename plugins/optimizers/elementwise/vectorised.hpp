// TRAINHOST_VECTORISED before a function with a plain loop: compiled for the baseline, AVX2 and AVX-512, the best chosen at load.
#pragma once

#if defined(TRAINHOST_VECTOR_CLONES) && defined(__x86_64__)
#define TRAINHOST_VECTORISED __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define TRAINHOST_VECTORISED
#endif
