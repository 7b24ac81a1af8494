// Local search that complements a population or a policy: from an elite, at a target near its stage time.
#pragma once

#include <cstdint>

#include "common/rng.h"
#include "search/window_search.h"

namespace stageplan {

// The target at which to search for plans better than the given one: its stage time; for objective price, if
// there is neither a cost limit nor a violation, the longest time that the goal allows.
double target_of(const Problem& problem, const Score& score);

// A random stage time near another one.
double nearby_time(double time, Rng& rng);

// Improves a scheme at the target `time`, or at the longer of the goal's and the best plan's time if that is
// less. Returns the number of schemes evaluated.
std::uint64_t polish(const Problem& problem, WindowSearch& search, Genes& scheme, double time,
                     const Score& best, Rng& rng);

}  // namespace stageplan
