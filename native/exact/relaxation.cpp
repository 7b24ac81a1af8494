#include "exact/relaxation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "common/stop.h"

namespace stageplan {

bool Multipliers::none() const { return sum() == 0; }

double Multipliers::sum() const { return std::accumulate(types.begin(), types.end(), extra); }

Usage usage_of(const Problem& problem, const StageGraph& graph, const Demand& demand,
               const std::vector<int>& path) {
  Usage usage;
  usage.counts.assign(problem.types, 0);
  for (int i : path) {
    usage.counts[graph[i].type] += graph[i].devices;
    usage.cost += demand.cost[i];
    if (!demand.extra.empty()) usage.extra += demand.extra[i];
  }
  return usage;
}

bool within_limits(const Problem& problem, const Usage& usage) {
  for (int t = 0; t < problem.types; ++t)
    if (static_cast<double>(usage.counts[t]) > problem.limit[t]) return false;
  return usage.extra <= kWhole;
}

void weigh_arcs(const Problem& problem, const StageGraph& graph, const Demand& demand,
                const Multipliers& multipliers, std::vector<double>& weight) {
  std::vector<double> device(problem.types);
  for (int t = 0; t < problem.types; ++t)
    if (multipliers.types[t] > 0) device[t] = multipliers.types[t] / problem.limit[t];
  weight.resize(graph.size());
  for (size_t i = 0; i < graph.size(); ++i)
    weight[i] = demand.cost[i] + device[graph[i].type] * graph[i].devices;
  if (multipliers.extra == 0) return;
  for (size_t i = 0; i < graph.size(); ++i) weight[i] += multipliers.extra * demand.extra[i];
}

namespace {

// The relative excess of a path over each limit: the subgradient; 0 if it would only lower a multiplier that is
// 0.
struct Slope {
  std::vector<double> types;
  double extra = 0;

  Slope(const Problem& problem, const Usage& usage, const Demand& demand, const Multipliers& multipliers) {
    for (int t = 0; t < problem.types; ++t) {
      const double limit = problem.limit[t];
      types.push_back(limit < 1 || limit == kInfinity
                          ? 0
                          : clip(static_cast<double>(usage.counts[t]) / limit - 1, multipliers.types[t]));
    }
    if (!demand.extra.empty()) extra = clip(usage.extra - 1, multipliers.extra);
  }

  static double clip(double slope, double multiplier) { return multiplier == 0 && slope < 0 ? 0 : slope; }

  double norm() const { return std::inner_product(types.begin(), types.end(), types.begin(), extra * extra); }
};

void move(Multipliers& multipliers, const Slope& slope, double length) {
  for (size_t t = 0; t < multipliers.types.size(); ++t)
    multipliers.types[t] = std::max(0.0, multipliers.types[t] + length * slope.types[t]);
  multipliers.extra = std::max(0.0, multipliers.extra + length * slope.extra);
}

constexpr int kPatience = 4;   // steps without a higher bound after which the step length is halved
constexpr double kRise = 0.1;  // relative rise of the bound to aim at while no plan limits it

}  // namespace

LagrangianBound Relaxation::raise(int steps, const Visit& visit) {
  Multipliers now = multipliers;
  LagrangianBound best;
  double scale = 1;
  for (int step = 0, stalled = 0; step < steps; ++step) {
    check_stop_often(1 + graph.size() / 16);
    const double bound = weigh(now) - now.sum();
    if (bound == kInfinity) return {bound, false, {}};
    if (std::isnan(bound)) break;  // the multipliers overflowed
    if (bound > best.bound + kTolerance * std::abs(best.bound)) {
      stalled = 0;
    } else if (++stalled == kPatience) {
      stalled = 0;
      scale /= 2;
    }
    const std::vector<int> path = paths.path(graph);
    if (bound > best.bound) {
      best = {bound, false, path};
      multipliers = now;
    }
    const Usage usage = usage_of(problem, graph, demand, path);
    const bool within = within_limits(problem, usage);
    if (within) visit(path, usage.cost);
    if (best.bound >= demand.most_cost) break;
    const Slope slope(problem, usage, demand, now);
    const double norm = slope.norm();
    if (norm == 0) {
      best = {bound, within, path};
      multipliers = now;
      break;
    }
    const double aim =
        demand.most_cost < kInfinity ? demand.most_cost : best.bound + kRise * std::abs(best.bound);
    move(now, slope, scale * (aim - bound) / norm);
  }
  return best;
}

double Relaxation::weigh(const Multipliers& with) {
  weigh_arcs(problem, graph, demand, with, weight);
  return paths.from_start(graph, weight);
}

std::vector<char> Relaxation::mark_promising() {
  paths.to_end(graph, weight);
  std::vector<char> marked(graph.size());
  const double max_total = demand.most_cost + multipliers.sum();
  std::transform(graph.arcs().begin(), graph.arcs().end(), weight.begin(), marked.begin(),
                 [&paths = paths, max_total](const Arc& arc, double own) {
                   return paths.before(arc) + own + paths.after(arc) <= max_total;
                 });
  return marked;
}

}  // namespace stageplan
