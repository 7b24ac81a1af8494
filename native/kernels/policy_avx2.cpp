// Kernels of a policy for AVX2.
#include "common/elementary.h"
#include "kernels/kernel_sets.h"

#if STAGEPLAN_X86

#define STAGEPLAN_LANE_BYTES 32

#pragma GCC push_options
#pragma GCC target("avx2")

namespace stageplan::avx2 {
#include "kernels/policy_kernels-inl.h"
}

#pragma GCC pop_options

#endif
