// The front of cost, or hourly price, against speed: the cheapest plan for each of several stage times, proven
// together. It is one branch and bound over the stage time: an interval of it is closed by the plans that are
// at least as fast, so that each is looked at once for all the stage times that it matters to, and what is
// found for one serves all slower ones.
#pragma once

#include <optional>
#include <vector>

#include "exact/exact.h"

namespace stageplan {

// The cheapest plan found that takes at most `target` seconds per example.
struct FrontPoint {
  double target, time;
  double value;  // $, or $/hour
  double bound;  // no plan that takes at most `target` costs less
  Genes scheme;
};

class Front : public Exact {
 public:
  // The objective is cost or price. `targets`: stage times, the slowest first; with a `gap` all from the first
  // to the last, each up to this gap. `fastest`: no plan is faster. `initial`: schemes, the first of which has
  // a feasible plan for the last target.
  Front(const Problem& problem, std::vector<double> targets, std::optional<double> gap, double fastest,
        const Genes& initial);

  // One a target, or, with a gap, as many as it takes; those that are no better than faster ones left out.
  std::vector<FrontPoint> points() const;

 protected:
  double to_beat(double low) const override;
  void try_scheme(const Genes& scheme) override;
  void start() override;
  double split_time(const Interval& interval, const NodeResult& found) const override;

 private:
  // Of the plans found, those that no other one is faster and cheaper than: the slowest first, which is the
  // cheapest.
  struct Known {
    double time, value;
    size_t scheme;  // where it begins in `schemes_`
  };

  void keep_states(const Genes& scheme);
  void add(double time, double value);
  const Known* cheapest(double time) const;
  double target_for(double low) const;
  double bound_of(double target) const;
  FrontPoint point(double target) const;
  std::vector<double> spread() const;

  const std::vector<double> targets_;
  const bool all_;      // stage times are targets
  const double slack_;  // 1 + what a plan left out may be cheaper by
  const double fastest_;
  Genes schemes_;  // of the plans
  std::vector<Known> known_;
};

}  // namespace stageplan
