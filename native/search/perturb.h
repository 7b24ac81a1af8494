// Random changes of a scheme, from which a local search continues.
#pragma once

#include <utility>

#include "common/rng.h"
#include "search/schemes.h"

namespace stageplan {

// Gives a run of layers, about as long as a stage, a random label; returns the first and the last.
std::pair<int, int> overwrite_run(const Problem& problem, Genes& scheme, Rng& rng);

// Swaps the labels of two stages, useful where devices are scarce; returns a layer of each.
std::pair<int, int> swap_stages(Genes& scheme, Rng& rng);

}  // namespace stageplan
