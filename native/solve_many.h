// Many set-ups of one problem, which differ in prices, limits and goals, each solved by itself.
#pragma once

#include <cstdint>
#include <vector>

#include "solve.h"

namespace stageplan {

// What differs between set-ups; set-up i has row i.
struct SetUps {
  struct Arrays {  // of the device types
    std::vector<double> ProblemData::* field;
    const double* rows;  // (count, types)
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
  std::int8_t* schemes;  // (count, layers)
  std::uint8_t* solved;
};

// Solves `count` set-ups on several threads, each by one thread, so that outcomes do not depend on
// their number. Throws std::invalid_argument, naming the first set-up that is not valid.
void solve_many(const Problem& problem, const SetUps& set_ups, size_t count, const HowToSolve& how, int threads,
                const Outcomes& outcomes);

}  // namespace stageplan
