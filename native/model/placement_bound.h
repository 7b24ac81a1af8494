// Lower bounds for plans with Merge::type.
#pragma once

#include "model/problem.h"

namespace stageplan {

// No feasible plan with Merge::type has a lower cost, price or time; infinite if there is none. Counts compute
// only, no transfers: layers may be divided freely among the devices of each type; the linear program is
// relaxed with a Lagrange multiplier on the time of each type.
Score placement_bound(const Problem& problem);

}  // namespace stageplan
