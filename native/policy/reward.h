// The reward of an episode.
#pragma once

#include "model/problem.h"

namespace stageplan {

// Negative logarithm of the objective relative to `reference`, within +-10: higher is better. An infeasible
// plan gets less than any feasible one, decreasing with its violation.
double reward_of(const Problem& problem, const Score& score, double reference);

}  // namespace stageplan
