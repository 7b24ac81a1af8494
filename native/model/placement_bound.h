// How good any plan of stages by type can be at best.
#pragma once

#include "model/problem.h"

namespace stageplan {

// With Merge::type, no feasible plan costs less, an hour or in all, or is faster; infinite where there is none.
// From compute alone, transfers left out: layers that may be cut up at will and shared by the devices of each
// type, the linear program relaxed by a price on the time of each type.
Score placement_bound(const Problem& problem);

}  // namespace stageplan
