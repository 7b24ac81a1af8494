// Kernels of a policy for every processor.
#include "common/elementary.h"
#include "kernels/kernel_sets.h"

#define STAGEPLAN_LANE_BYTES 16

namespace stageplan::baseline {
#include "kernels/policy_kernels-inl.h"
}
