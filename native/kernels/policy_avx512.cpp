// Kernels of a policy for AVX-512.
#include "common/elementary.h"
#include "kernels/kernel_sets.h"

#if STAGEPLAN_X86

#define STAGEPLAN_LANE_BYTES 64

#ifdef __clang__  // it has no such option for single functions
STAGEPLAN_TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx2")
#else
STAGEPLAN_TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx2,prefer-vector-width=512")
#endif

namespace stageplan::avx512 {
#include "kernels/policy_kernels-inl.h"
}

STAGEPLAN_END_TARGET

#endif
