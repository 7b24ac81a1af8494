// The cheapest devices at one stage time: a single stage graph, with the price per hour as the cost.
#pragma once

#include <cstdint>

#include "search/schemes.h"

namespace stageplan {

struct Cheapest {
  double price = kInfinity;  // $/hour of the devices and the fixed price; infinity if no plan is that fast
  double bound = kInfinity;  // no plan that fast costs less per hour
  Genes scheme;              // empty if none was found
};

// Keeps the limits on devices and memory only. `width`: number of labels at a cut above which the answer is a
// bound and the best plan found.
Cheapest cheapest_at(const Problem& problem, const StageLoads& loads, double time, std::size_t width);

}  // namespace stageplan
