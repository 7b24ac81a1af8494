// Kernels without vector intrinsics of their own: compiled for the baseline of the processor family and for
// AVX2.
#include "kernel_sets.h"

#define STAGEPLAN_SET baseline
#include "kernels_scalar-inl.h"
#undef STAGEPLAN_SET

#if STAGEPLAN_X86
#pragma GCC push_options
#pragma GCC target("avx2,bmi,bmi2,lzcnt,popcnt")
#define STAGEPLAN_SET avx2
#include "kernels_scalar-inl.h"
#undef STAGEPLAN_SET
#pragma GCC pop_options
#endif
