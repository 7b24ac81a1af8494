// Bounds of what a plan is worth from bounds of weighted sums of its time and its price: a convex polygon of
// times and prices, whose corners are looked at.
#pragma once

#include <algorithm>

#include "model/problem.h"

namespace stageplan {

// time * (seconds per example) + price * ($/hour) >= value.
struct Line {
  double time, price;
  double value;
};

// The curve of times and prices that just count, from its dearest point to its longest one.
struct Ends {
  double time, dearest;  // of the dearest point
  double longest, price;

  // The most that a point of it weighs.
  double heaviest(double time_weight, double price_weight) const {
    if (time_weight == 0) return price_weight * dearest;
    if (price_weight == 0) return time_weight * longest;
    return std::max(time_weight * time + price_weight * dearest, time_weight * longest + price_weight * price);
  }
};

// What a plan has to keep so that it counts: the limits and, once there is one, less than the best plan.
struct Worth {
  Objective objective;
  double cost_scale;
  double most_time = kInfinity, most_price = kInfinity, most_cost = kInfinity;

  double objective_of(double time, double price) const {
    if (objective == Objective::cost) return cost_scale * time * price;
    return objective == Objective::throughput ? time : price;
  }

  // The longest time with which a plan of this price counts, and the highest price of one of this time.
  double longest(double price) const;
  double dearest(double time) const;

  // Of plans that take at least this time and price.
  Ends ends(double least_time, double least_price) const;
};

// The least objective of plans that keep the lines and count; infinity where there are none. The first line
// bounds the price alone and the last one the time alone, those between are in order of their slope.
double least_objective(const Worth& worth, const Line* lines, int count);

// Between which lines, `i` and the next, the corner is that bounds the objective; -1 where the ends meet.
int least_corner(const Worth& worth, const Line* lines, int count);

}  // namespace stageplan
