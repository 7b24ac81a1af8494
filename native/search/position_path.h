// Initial scheme for a stage time among options, by dynamic programming from the end.
#pragma once

#include "kernels/option_table.h"
#include "search/schemes.h"

namespace stageplan {

// The scheme with the least sum of weights over its stages, by their table entries; shared limits are ignored.
// Empty if no scheme keeps to the table's time and all-reduce. Cuts are at multiples of `stride`.
Genes cheapest_by_position(const Problem& problem, const OptionTable& table, const OptionWeights& weights,
                           int stride = 1);

}  // namespace stageplan
