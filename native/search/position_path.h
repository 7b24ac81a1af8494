// Initial scheme for a stage time among options, by dynamic programming from the end.
#pragma once

#include "kernels/option_scorer.h"
#include "search/schemes.h"

namespace stageplan {

// The scheme with the least sum of $/hour and `pass_price` * pass seconds over its stages, by their table
// entries; shared limits are ignored. Empty if no stages fit.
Genes cheapest_by_position(const Problem& problem, const OptionTable& table, double pass_price);

}  // namespace stageplan
