// Lagrangian relaxation of the limits that stages share: a stage pays for its use of each limit at a price
// given by the multiplier. The shortest path with these payments, minus the sum of the multipliers, bounds the
// cost of every path that keeps the limits.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "exact/segment_path.h"

namespace stageplan {

// A limit fully used, with room for the rounding of a sum of fractions.
inline constexpr double kWhole = 1 + 1e-12;

// The cost of each arc of a graph, and its use, as a fraction, of a limit other than device limits.
struct Demand {
  std::vector<double> cost;
  std::vector<double> extra;     // empty if there is no such limit
  double most_cost = kInfinity;  // paths that cost more are ignored
};

// Lagrange multipliers: the price of all devices of each type, and of the whole extra limit.
struct Multipliers {
  std::vector<double> types;
  double extra = 0;

  bool none() const;
  double sum() const;
};

// The resource use of a path.
struct Usage {
  std::vector<std::int64_t> counts;  // devices of each type
  double extra = 0, cost = 0;
};
Usage usage_of(const Problem& problem, const StageGraph& graph, const Demand& demand,
               const std::vector<int>& path);
bool within_limits(const Problem& problem, const Usage& usage);

// The cost of each arc plus its payments for the limits.
void weigh_arcs(const Problem& problem, const StageGraph& graph, const Demand& demand,
                const Multipliers& multipliers, std::vector<double>& weight);

// The bound proven by the multipliers, and the shortest path behind it, which may violate the limits.
struct LagrangianBound {
  double bound = -kInfinity;  // infinity if there is no path at all
  bool exact = false;         // the path is within the limits, and the cheapest such path
  std::vector<int> path;
};

// Called with the paths found within the limits, whatever their cost; may lower `Demand::most_cost`.
using Visit = std::function<void(const std::vector<int>& path, double cost)>;

// The relaxation of one graph, in buffers of its owner.
struct Relaxation {
  const Problem& problem;
  const StageGraph& graph;
  Demand& demand;
  Multipliers& multipliers;
  SegmentPath& paths;           // totals of `weight`
  std::vector<double>& weight;  // of the arcs, with multipliers

  // Raises the bound by at most `steps` subgradient steps from `multipliers`, which become those of the bound;
  // if it is exact, `weight` and `paths` hold its weights and totals from the start. Stops when the bound
  // reaches `demand.most_cost`.
  LagrangianBound raise(int steps, const Visit& visit);

  // Weighs the arcs with the multipliers and finds the totals from the start; returns the total of a shortest
  // path.
  double weigh(const Multipliers& with);
  double weigh() { return weigh(multipliers); }

  // Marks the arcs on paths that may cost at most `demand.most_cost`, given `weight` and the totals from the
  // start; also computes those to the end.
  std::vector<char> mark_promising();
};

}  // namespace stageplan
