// Kernels of a policy for every processor.
#include "elementary.h"
#include "kernel_sets.h"

#define STAGEPLAN_LANE_BYTES 16

namespace stageplan::baseline {
#include "policy_kernels-inl.h"
}
