// The output arrays of scoring.
#pragma once

#include <cstddef>

#include "model/problem.h"

namespace stageplan {

// One number per scheme in each array; prices and plan costs only if requested.
struct ScoreArrays {
  double *cost, *time, *violation, *price = nullptr, *plan_cost = nullptr;

  ScoreArrays from(size_t i) const {
    return {cost + i, time + i, violation + i, price ? price + i : nullptr,
            plan_cost ? plan_cost + i : nullptr};
  }
  void set(size_t i, const Score& score) const {
    cost[i] = score.cost;
    time[i] = score.time;
    violation[i] = score.violation;
    if (price) price[i] = score.price;
  }
};

}  // namespace stageplan
