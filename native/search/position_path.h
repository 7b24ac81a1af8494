// A first scheme at a stage time where stages are chosen among options, by dynamic programming from the end.
#pragma once

#include "kernels/option_scorer.h"
#include "search/schemes.h"

namespace stageplan {

// The scheme whose stages, each by its entry in the table, take the least $/hour and `pass_price` times pass
// seconds altogether; limits that stages share do not count. Empty where no stages fit.
Genes cheapest_by_position(const Problem& problem, const OptionTable& table, double pass_price);

}  // namespace stageplan
