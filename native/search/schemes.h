// Initial schemes, and a simple descent.
#pragma once

#include <cstdint>
#include <vector>

#include "common/rng.h"
#include "common/state.h"
#include "kernels/scorer.h"

namespace stageplan {

using Genes = std::vector<std::int8_t>;

// A scheme of few or many stages: the probability of a new label at each layer is itself random, from 1 down to
// 1 / layers.
void random_scheme(const Problem& problem, Rng& rng, std::int8_t* scheme);

// All layers on one type: one scheme for each type, concatenated.
Genes homogeneous_schemes(const Problem& problem);

// Layer by layer, the label that is best if all later layers had it too.
Genes greedy_scheme(const Problem& problem, const Scorer& scorer);

// First-improvement descent until no neighbour of the scheme is better: another label for a layer, a stage or
// an edge of a stage. Returns the number of schemes scored.
std::uint64_t descend(const Scorer& scorer, Genes& scheme, Score& score);

// Saves or loads schemes, `count` of them unless it is kAnyCount.
inline constexpr size_t kAnyCount = ~size_t{0};
void transfer(State& state, const Problem& problem, Genes& schemes, size_t count = kAnyCount);
void transfer(State& state, const Problem& problem, Score& score);

}  // namespace stageplan
