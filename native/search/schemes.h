// Ways to make a scheme from nothing.
#pragma once

#include <cstdint>
#include <vector>

#include "common/rng.h"
#include "kernels/scorer.h"

namespace stageplan {

using Genes = std::vector<std::int8_t>;

// A scheme of few or many stages: the chance of a new label at each layer is itself drawn, from 1 down to
// one in the number of layers.
void random_scheme(const Problem& problem, Rng& rng, std::int8_t* scheme);

// All layers on one type: a scheme for each, one behind the other.
Genes homogeneous_schemes(const Problem& problem);

// Layer by layer, the label that is best if the rest of the network followed it.
Genes greedy_scheme(const Problem& problem, const Scorer& scorer);

// Sweeps over the neighbours of a scheme, each improvement taken at once, until there is none: another label
// for a layer, for a stage, for an edge of a stage. Returns how many schemes were scored.
std::uint64_t descend(const Scorer& scorer, Genes& scheme, Score& score);

}  // namespace stageplan
