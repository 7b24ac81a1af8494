// The reward of an episode.
#pragma once

#include "model/problem.h"

namespace stageplan {

// The better a plan, the higher: the negative logarithm of its objective relative to `reference`, within +-10.
// A plan that breaks limits gets less than any feasible one, and the less, the larger its violation.
double reward_of(const Problem& problem, const Score& score, double reference);

}  // namespace stageplan
