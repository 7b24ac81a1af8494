// What depends on the objective in the exact search: whether cost or hourly price is to be least, what a stage
// adds to it in an interval of stage times, and what the limits allow. Where the fastest plan is wanted, cost
// is a limit only.
#pragma once

#include <vector>

#include "exact/relaxation.h"

namespace stageplan {

class Pricing {
 public:
  explicit Pricing(const Problem& problem);

  // Whether the cheapest plan is wanted, by cost or by hourly price, and not the fastest.
  bool cheapest() const { return cheapest_; }
  bool by_price() const { return per_second_ == 0; }

  // What $1/hour adds to the cost, or to the hourly price, at a stage time.
  double worth(double time) const { return per_hour_ + per_second_ * time; }

  // What plans cost whatever their stages, at least, at a stage time.
  double fixed(double time) const { return worth(time) * problem_.fixed_price; }

  // Of a path whose slowest stage takes at least `time`.
  double cost(double time, const std::vector<Arc>& path) const;

  // The most that the limits allow of cost or hourly price, whichever is priced, and of the other one.
  double most() const { return by_price() ? problem_.max_price : problem_.max_cost; }
  double most_of_other() const { return by_price() ? problem_.max_cost : problem_.max_price; }

  // $/hour that are left for devices.
  double most_for_devices() const { return problem_.max_price * (1 + kTolerance) - problem_.fixed_price; }

  // Whether there are limits that stages share, so that one may take what another needs.
  bool shares_limits() const;

  // What a plan within `to_beat` and the limits, whose stages take at most `longest`, may spend beyond the work
  // of each layer on the type that is cheapest for it, $/hour times seconds.
  double excess(double to_beat, double longest) const;

  // A sweep weighs price * devices * max(low, its time); this is the `low` that bounds the stages of an
  // interval, and what a unit of the sum is worth. An hour's price is the price times seconds of stages that
  // all take as long as the interval allows.
  struct Sweep {
    double low, unit;
  };
  Sweep sweep(double low, double high) const {
    return by_price() ? Sweep{high, 1 / high} : Sweep{low, per_second_};
  }

  // What arcs demand of plans slower than `low`: with `costs` their cost, of which a path may have `most_cost`,
  // and what they use of the other limit. Else what they use of that, or of devices, takes the place of the
  // cost, so that it is a limit too.
  Demand demand(const StageGraph& graph, double low, bool costs, double most_cost) const;

  // The stage time up to which a path costs in all no more than it may.
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
