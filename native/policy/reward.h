// The reward of an episode.
#pragma once

#include "model/problem.h"

namespace stageplan {

// Negative logarithm of the objective relative to `reference`, within +-10: higher is better. For a plan cost,
// which may be negative, the inverse hyperbolic sine of its distance from it. An infeasible
// plan gets less than any feasible one, decreasing with its violation.
double reward_of(const Problem& problem, const Score& score, double reference);

}  // namespace stageplan
