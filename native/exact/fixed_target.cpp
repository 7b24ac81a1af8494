#include "exact/fixed_target.h"

#include <algorithm>

#include "exact/label_setting.h"
#include "exact/segment_sweep.h"

namespace stageplan {
namespace {

constexpr int kSteps = 100;  // subgradient steps
constexpr int kCoarse = 16;  // cuts available to the first plan
constexpr int kFiner = 4;    // factor on the cuts in each round

Demand price_of(const Problem& problem, const StageGraph& graph) {
  Demand demand;
  for (const Arc& arc : graph.arcs()) demand.cost.push_back(problem.price[arc.type] * arc.devices);
  return demand;
}

// The cheapest path within the limits, as far as the Lagrangian relaxation finds it.
struct Relaxed {
  Demand demand;  // paths that cost at least as much as the best are ignored
  SegmentPath paths;
  Multipliers multipliers;
  std::vector<double> weight;  // with multipliers
  std::vector<int> best;       // path within the limits
  LagrangianBound raised;

  Relaxed(const Problem& problem, const StageGraph& graph)
      : demand(price_of(problem, graph)), paths(problem), multipliers{std::vector<double>(problem.types), 0} {
    const auto visit = [&](const std::vector<int>& path, double cost) {
      if (cost >= demand.most_cost) return;
      demand.most_cost = cost;
      best = path;
    };
    raised = relaxation(problem, graph).raise(kSteps, visit);
  }

  Relaxation relaxation(const Problem& problem, const StageGraph& graph) {
    return {problem, graph, demand, multipliers, paths, weight};
  }

  double bound() const { return std::min(raised.bound, demand.most_cost); }
  bool proven() const {
    return bound() == kInfinity || raised.exact || raised.bound >= demand.most_cost * (1 - kTolerance);
  }
};

void take(const Problem& problem, const StageGraph& graph, const std::vector<int>& path, Cheapest& answer) {
  answer.price = problem.fixed_price;
  for (int i : path) answer.price += problem.price[graph[i].type] * graph[i].devices;
  answer.scheme = scheme_of(problem, arcs_of(graph, path));
}

// The cheapest plan of the stages, by label setting if the relaxation leaves a gap.
Cheapest cheapest_of(const Problem& problem, const StageSource& stages, const StageGraph& graph, size_t width) {
  Relaxed relaxed(problem, graph);
  Cheapest answer;
  answer.bound = relaxed.bound();
  if (!relaxed.best.empty()) take(problem, graph, relaxed.best, answer);
  if (!relaxed.proven()) {
    Relaxation relaxation = relaxed.relaxation(problem, graph);
    relaxation.weigh();
    const auto marked = relaxation.mark_promising();
    StageGraph small = graph;
    small.narrow(stages, marked, graph.time());
    Demand rest = price_of(problem, small);
    rest.most_cost = relaxed.demand.most_cost;
    const auto found = LabelSetting(problem, small, rest, relaxed.multipliers, relaxed.paths, width).run();
    answer.bound = std::max(answer.bound, std::min(found.bound, rest.most_cost));
    if (!found.path.empty()) take(problem, small, found.path, answer);
  }
  answer.bound += problem.fixed_price;
  return answer;
}

// The stages that may be in the cheapest plan within the limits, given the best plan with coarser cuts, in
// rounds.
StageGraph promising_stages(const Problem& problem, SegmentSweep& sweep, double time) {
  double max_price = kInfinity;
  for (int stride = std::max(1, problem.layers / kCoarse);; stride = std::max(1, stride / kFiner)) {
    sweep.from_start(time, time, stride);
    const StageGraph graph = *sweep.promising(max_price * time);
    if (stride == 1) return graph;
    max_price = std::min(max_price, Relaxed(problem, graph).demand.most_cost);
  }
}

}  // namespace

Cheapest cheapest_at(const Problem& problem, const StageLoads& loads, double time, std::size_t width) {
  const StageSource stages(problem, loads);
  SegmentSweep sweep(problem, stages);
  if (sweep.from_start(time, time) == kInfinity) return {};
  const StageGraph alone = sweep.path();
  const std::vector<int> path = all_arcs(alone);
  if (!within_limits(problem, usage_of(problem, alone, price_of(problem, alone), path)))
    return cheapest_of(problem, stages, promising_stages(problem, sweep, time), width);
  Cheapest answer;
  take(problem, alone, path, answer);
  answer.bound = answer.price;
  return answer;
}

}  // namespace stageplan
