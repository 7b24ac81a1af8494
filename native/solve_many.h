// Many set-ups, variants of one problem or each of its own, that differ in prices, limits and goals; each is
// solved by itself.
#pragma once

#include <cstdint>
#include <vector>

#include "solve.h"

namespace stageplan {

// What differs between set-ups; set-up i has row i.
struct SetUps {
  struct Arrays {  // of the device types
    std::vector<double> ProblemData::* field;
    const double* rows;  // (count, types); of problems with equally many types
  };
  struct Numbers {
    double ProblemData::* field;
    const double* rows;  // (count,)
  };
  std::vector<Arrays> arrays;
  std::vector<Numbers> numbers;
};

// Where the outcomes go; row i is written once set-up i is solved, `solved[i]` last.
struct Outcomes {
  double *cost, *time, *price, *violation;
  double* bound;  // as Search::bound
  std::int32_t* stages;
  std::int64_t* devices;
  std::uint64_t *evaluations, *generations, *work;
  std::int8_t* schemes;  // (count, layers); the rest of a row of a problem with fewer layers is left as it is
  size_t layers;         // the most of all problems
  std::uint8_t* solved;
};

// Solves set-ups on several threads, each by one thread, so that outcomes do not depend on their number; set-up
// i is a variant of `problems[i]`. Throws std::invalid_argument, naming the first set-up that is not valid.
void solve_many(const std::vector<const Problem*>& problems, const SetUps& set_ups, const HowToSolve& how,
                int threads, const Outcomes& outcomes);

}  // namespace stageplan
