// Kernels of a policy for AVX2.
#include "common/elementary.h"
#include "kernels/kernel_sets.h"

#if STAGEPLAN_X86

#define STAGEPLAN_LANE_BYTES 32

STAGEPLAN_TARGET("avx2")

namespace stageplan::avx2 {
#include "kernels/policy_kernels-inl.h"
}

STAGEPLAN_END_TARGET

#endif
