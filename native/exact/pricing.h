// The parts of the exact search that depend on the objective: whether to minimise cost or hourly price, the
// contribution of a stage in an interval of stage times, and what the limits allow. For objective throughput,
// cost is only a limit.
#pragma once

#include <vector>

#include "exact/relaxation.h"

namespace stageplan {

class Pricing {
 public:
  explicit Pricing(const Problem& problem);

  // Whether the objective is cost or hourly price, not throughput.
  bool cheapest() const { return cheapest_; }
  bool by_price() const { return per_second_ == 0; }

  // Contribution of $1/hour to the cost, or to the hourly price, at a stage time.
  double worth(double time) const { return per_hour_ + per_second_ * time; }

  // Fixed part of the cost at a stage time: a lower bound for all plans.
  double fixed(double time) const { return worth(time) * problem_.fixed_price; }

  // Of a path whose slowest stage takes at least `time`.
  double cost(double time, const std::vector<Arc>& path) const;

  // The limit on cost or hourly price, whichever is minimised, and the limit on the other one.
  double most() const { return by_price() ? problem_.max_price : problem_.max_cost; }
  double most_of_other() const { return by_price() ? problem_.max_cost : problem_.max_price; }

  // $/hour left for devices.
  double most_for_devices() const { return problem_.max_price * (1 + kTolerance) - problem_.fixed_price; }

  // Whether the devices of a type that has any are limited.
  bool shares_devices() const;

  // Whether there are limits that stages share, so that stages compete for them.
  bool shares_limits() const;

  // Upper bound of what a plan better than `to_beat` and within the limits, whose stages take at most
  // `longest`, may spend beyond the work of each layer on its cheapest type, $/hour times seconds.
  double excess(double to_beat, double longest, const std::vector<double>& least_prices) const;

  // A sweep weighs price * devices * max(low, its time); this is the `low` that bounds the stages of an
  // interval, and the value of a unit of the sum. The hourly price is the price times seconds of stages that
  // all take as long as the interval allows.
  struct Sweep {
    double low, unit;
  };
  Sweep sweep(double low, double high) const {
    return by_price() ? Sweep{high, 1 / high} : Sweep{low, per_second_};
  }

  // The demand of arcs in plans slower than `low`: with `costs` their cost, at most `most_cost` for a path, and
  // their use of the other limit. Without, their use of that limit, or of devices, replaces the cost, so that
  // it is a limit as well.
  Demand demand(const StageGraph& graph, double low, bool costs, double most_cost) const;

  // The stage time up to which a path keeps max_cost.
  double affordable_time(const std::vector<Arc>& path) const {
    return problem_.max_cost / (problem_.cost_scale() * cost(0, path));
  }

 private:
  double most_used(double low) const;
  double used(const Arc& arc, double low) const;

  const Problem& problem_;
  const bool cheapest_;
  const double per_hour_, per_second_;
};

}  // namespace stageplan
