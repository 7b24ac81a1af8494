// Bounds of the objective from bounds of weighted sums of time and price: a convex polygon of times and prices,
// whose corners are examined.
#pragma once

#include <algorithm>

#include "model/problem.h"

namespace stageplan {

// time * (seconds per example) + price * ($/hour) >= value.
struct Line {
  double time, price;
  double value;
};

// The curve that bounds the times and prices of interest, from its dearest point to its longest one.
struct Ends {
  double time, dearest;  // of the dearest point
  double longest, price;

  // The greatest weighted sum of a point of it.
  double heaviest(double time_weight, double price_weight) const {
    if (time_weight == 0) return price_weight * dearest;
    if (price_weight == 0) return time_weight * longest;
    return std::max(time_weight * time + price_weight * dearest, time_weight * longest + price_weight * price);
  }
};

// The constraints on a plan of interest: the limits and, once there is one, better than the best plan.
struct Worth {
  Objective objective;
  double cost_scale;
  double most_time = kInfinity, most_price = kInfinity, most_cost = kInfinity;

  double objective_of(double time, double price) const {
    if (objective == Objective::cost) return cost_scale * time * price;
    return objective == Objective::throughput ? time : price;
  }

  // The longest time of a plan of interest at this price, and the highest price of one at this time.
  double longest(double price) const;
  double dearest(double time) const;

  // Of plans that take at least this time and price.
  Ends ends(double least_time, double least_price) const;
};

// The least objective of plans of interest that keep the lines; infinity if there are none. The first line
// bounds the price alone and the last one the time alone; those between are sorted by slope.
double least_objective(const Worth& worth, const Line* lines, int count);

// The corner that bounds the objective lies between lines `i` and i + 1; -1 if the ends meet.
int least_corner(const Worth& worth, const Line* lines, int count);

}  // namespace stageplan
