// Kernels of a policy for AVX-512.
#include "common/elementary.h"
#include "kernels/kernel_sets.h"

#if STAGEPLAN_X86

#define STAGEPLAN_LANE_BYTES 64

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,prefer-vector-width=512")

namespace stageplan::avx512 {
#include "kernels/policy_kernels-inl.h"
}

#pragma GCC pop_options

#endif
