// Local search beside a population or a policy: from one of the best schemes, at a target near its own.
#pragma once

#include <cstdint>

#include "common/rng.h"
#include "search/window_search.h"

namespace stageplan {

// The target at which to look for plans that are better than one: its own stage time. With objective price the
// slowest is best, unless it costs too much in all.
double target_of(const Problem& problem, const Score& score);

// A stage time near another one.
double nearby_time(double time, Rng& rng);

// Improves a scheme at a target: `time`, but no slower than the goal and the best plan, `best`, both ask.
// Returns how many schemes were looked at.
std::uint64_t polish(const Problem& problem, WindowSearch& search, Genes& scheme, double time,
                     const Score& best, Rng& rng);

}  // namespace stageplan
