// A whole solve on the calling thread, without Python.
#pragma once

#include <cstdint>
#include <memory>

#include "model/stage_matrix.h"
#include "search/search.h"

namespace stageplan {

struct HowToSolve {
  bool exact = true;  // or by Auto
  int population = 0;
  std::uint64_t seed = 0;
  std::uint64_t work = 0;  // after which no further step is taken
  int stagnation = 0;      // steps without a better plan after which Auto ends
};

struct Solved {
  std::unique_ptr<Search> search;  // which has a best scheme
  std::uint64_t steps;
};

// Steps as `stageplan.solve` does, from no initial schemes. The result refers to the problem. `known`: what
// other searches know of its stages.
Solved solve(const Problem& problem, const HowToSolve& how, const KnownStages& known = {});

}  // namespace stageplan
