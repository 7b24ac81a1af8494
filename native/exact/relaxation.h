// The limits that stages share, relaxed: each becomes a rent that a stage pays for what it uses
// (Lagrange multipliers). The shortest path with rents, less the rents of all that there is, bounds the
// cost of every path that keeps the limits.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "exact/segment_path.h"

namespace stageplan {

// A limit used to the full, with room for the rounding of a sum of fractions.
inline constexpr double kWhole = 1 + 1e-12;

// What each arc of a graph costs, and what it uses of a limit that is no device limit, as a fraction.
struct Demand {
  std::vector<double> cost;
  std::vector<double> extra;     // empty where there is no such limit
  double most_cost = kInfinity;  // paths that cost more are of no interest
};

// What it costs to use all devices of each type, and all of the extra limit.
struct Rents {
  std::vector<double> types;
  double extra = 0;

  bool none() const;
  double sum() const;
};

// What a path uses.
struct Usage {
  std::vector<std::int64_t> counts;  // devices of each type
  double extra = 0, cost = 0;
};
Usage usage_of(const Problem& problem, const StageGraph& graph, const Demand& demand,
               const std::vector<int>& path);
bool within_limits(const Problem& problem, const Usage& usage);

// Cost with rents of each arc.
void add_rents(const Problem& problem, const StageGraph& graph, const Demand& demand, const Rents& rents,
               std::vector<double>& weight);

// The bound that rents give, and the shortest path behind it, which need not keep the limits.
struct Raised {
  double bound = -kInfinity;  // infinity where there is no path at all
  bool exact = false;         // no path within the limits costs less than that one, which is within them
  std::vector<int> path;
};

// Raises the bound by at most `steps` subgradient steps, from `rents`, which become those of the bound; where
// that is exact, `weight` and `paths` are left with its cost with rents and totals from the start.
// `visit` sees the paths within the limits, whatever they cost, and may lower `demand.most_cost`; a bound
// that reaches this is high enough.
using Visit = std::function<void(const std::vector<int>& path, double cost)>;
Raised raise_bound(const Problem& problem, const StageGraph& graph, Demand& demand, SegmentPath& paths,
                   Rents& rents, std::vector<double>& weight, int steps, const Visit& visit);

// Marks the arcs that are on a path which may cost at most `demand.most_cost`, given their cost with rents and
// the totals from the start in `paths`, where those to the end are left as well.
std::vector<char> mark_promising(const StageGraph& graph, const Demand& demand, const Rents& rents,
                                 const std::vector<double>& weight, SegmentPath& paths);

}  // namespace stageplan
