// The limits that stages share, relaxed: a stage pays for what it uses of each, at a price
// given by its Lagrange multiplier. The shortest path with these payments, less the sum of the multipliers,
// bounds the cost of every path that keeps the limits.
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

// Lagrange multipliers: what it costs to use all devices of each type, and all of the extra limit.
struct Multipliers {
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

// Cost of each arc with what it pays by the multipliers.
void weigh_arcs(const Problem& problem, const StageGraph& graph, const Demand& demand,
                const Multipliers& multipliers, std::vector<double>& weight);

// The bound that multipliers prove, and the shortest path behind it, which need not keep the limits.
struct LagrangianBound {
  double bound = -kInfinity;  // infinity where there is no path at all
  bool exact = false;         // no path within the limits costs less than that one, which is within them
  std::vector<int> path;
};

// Sees the paths within the limits, whatever they cost, and may lower `Demand::most_cost`.
using Visit = std::function<void(const std::vector<int>& path, double cost)>;

// The relaxation of one graph, in buffers that its owner keeps.
struct Relaxation {
  const Problem& problem;
  const StageGraph& graph;
  Demand& demand;
  Multipliers& multipliers;
  SegmentPath& paths;           // totals of `weight`
  std::vector<double>& weight;  // of the arcs, with multipliers

  // Raises the bound by at most `steps` subgradient steps, from `multipliers`, which become those of the bound;
  // where that is exact, `weight` and `paths` are left with its weights and totals from the start. A bound that
  // reaches `demand.most_cost` is high enough.
  LagrangianBound raise(int steps, const Visit& visit);

  // Weighs the arcs with the multipliers, and finds the totals from the start; returns the least of all paths.
  double weigh(const Multipliers& with);
  double weigh() { return weigh(multipliers); }

  // Marks the arcs that are on a path which may cost at most `demand.most_cost`, given `weight` and the totals
  // from the start; leaves those to the end as well.
  std::vector<char> mark_promising();
};

}  // namespace stageplan
