// The front of cost, or hourly price, against speed: the cheapest plan for each of several stage times, proven
// together. It is one branch and bound over the stage time: an interval is closed by plans that are at least as
// fast, so that each is processed once for all the stage times that it affects, and a plan found for one serves
// all slower ones.
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
  // The objective is cost or price. `targets`: stage times, the slowest first; with a `gap` all times from the
  // first to the last, each up to this gap. `fastest`: a lower bound of the time of all plans. `initial`:
  // schemes, the first of which has a feasible plan for the last target.
  Front(const Problem& problem, std::vector<double> targets, std::optional<double> gap, double fastest,
        const Genes& initial);

  // One per target or, with a gap, as many as needed; without those that are not better than faster ones.
  std::vector<FrontPoint> points() const;

  void transfer(State& state) override;

 protected:
  double to_beat(double low) const override;
  void try_scheme(const Genes& scheme) override;
  void start() override;
  double branching_time(const Interval& interval, const NodeResult& found) const override;

 private:
  // The non-dominated plans found: the slowest first, which is the
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
  const bool all_;      // whether all stage times are targets
  const double slack_;  // square root of 1 + gap
  const double fastest_;
  Genes schemes_;  // of the plans
  std::vector<Known> known_;
};

}  // namespace stageplan
