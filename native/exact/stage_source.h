// The stages that the exact search builds paths of, by Amdahl's law or from listed options.
#pragma once

#include <optional>
#include <vector>

#include "model/listed_stages.h"

namespace stageplan {

// A stage with the fewest devices that reach the graph's stage time; it takes `time` with these.
struct Arc {
  int first, last, type, devices;
  double time;
};

// The maximum number of devices of a type in a stage.
int most_devices(const Problem& problem, int type);

class StageSource {
 public:
  StageSource(const Problem& problem, const StageLoads& loads);

  // Whether there is one: whether the devices of a stage times its time never fall as it gets more devices, and
  // nothing but limits and prices is shared by stages.
  static bool serves(const Problem& problem);

  // The stage with the fewest devices that reach a time within the limits of its type; empty if none do.
  std::optional<Arc> reach(int first, int last, int type, double time) const;

  // The same for a stage that a graph has at a longer time, where it does not reach this one.
  std::optional<Arc> faster(const Arc& arc, double time) const;

  // Asks for what `faster` will read.
  void prefetch_faster(const Arc& arc, double time) const {
    if (listed_) listed_->prefetch_above(arc.devices, arc.time, arc.first, arc.last, arc.type, time);
  }

  // As `reach`, and whether the stage, and so every longer one, breaks a limit: its transfer may shrink as it
  // grows, its compute and memory cannot. Nothing is known of listed options.
  struct Found {
    std::optional<Arc> arc;
    bool too_long = false;
  };
  Found find(int first, int last, int type, double time) const;

  // Lower bound of the cost of each layer's work, $/hour times seconds, over the types that can run it.
  const std::vector<double>& least_prices() const { return least_prices_; }

  // That of a layer on a type; infinite if it cannot run it, even at price 0.
  double work_price(int layer, int type) const;

  // A positive upper bound of stage times, seconds per example.
  double longest_time() const { return longest_time_; }

  const StageLoads& loads() const { return loads_; }

  // The listed options; null by Amdahl's law.
  const ListedStages* listed() const { return listed_; }

 private:
  std::optional<Arc> listed_arc(int first, int last, int type,
                                const std::optional<ListedStages::Fewest>& found) const;

  const Problem& problem_;
  const StageLoads& loads_;
  const ListedStages* listed_;
  std::vector<double> least_prices_;
  double longest_time_;
};

}  // namespace stageplan
