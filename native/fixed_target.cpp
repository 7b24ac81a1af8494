#include "fixed_target.h"

#include <algorithm>

#include "label_setting.h"

namespace stageplan {
namespace {

Demand price_of(const Problem& problem, const StageGraph& graph) {
  Demand demand;
  for (const Arc& arc : graph.arcs()) demand.cost.push_back(problem.price[arc.type] * arc.devices);
  return demand;
}

constexpr int kSteps = 100;  // of the subgradient
constexpr int kCoarse = 16;  // cuts that the first plan may choose from
constexpr int kFiner = 4;    // times as many cuts in each round

// Stages that may be in the cheapest plan, given the best one whose cuts are further apart, in rounds.
StageGraph promising_stages(const Problem& problem, const StageLoads& loads, double time) {
  double most = kInfinity;
  SegmentPath paths(problem);
  for (int stride = std::max(1, problem.layers / kCoarse);; stride /= kFiner) {
    StageGraph graph = StageGraph::cheap(problem, loads, time, std::max(stride, 1), most);
    if (stride <= 1) return graph;
    Demand demand = price_of(problem, graph);
    Rents rents{std::vector<double>(problem.types), 0};
    std::vector<double> weight;
    const auto visit = [&](const std::vector<int>&, double cost) { most = std::min(most, cost); };
    raise_bound(problem, graph, demand, paths, rents, weight, kSteps, visit);
  }
}

}  // namespace

Cheapest cheapest_at(const Problem& problem, const StageLoads& loads, double time, std::size_t width) {
  const StageGraph graph = promising_stages(problem, loads, time);
  Demand demand = price_of(problem, graph);
  SegmentPath paths(problem);
  Rents rents{std::vector<double>(problem.types), 0};
  std::vector<double> weight;
  std::vector<int> best;
  const auto visit = [&](const std::vector<int>& path, double cost) {
    if (cost >= demand.most_cost) return;
    demand.most_cost = cost;
    best = path;
  };
  const Raised raised = raise_bound(problem, graph, demand, paths, rents, weight, kSteps, visit);
  Cheapest answer;
  answer.bound = std::min(raised.bound, demand.most_cost);
  if (answer.bound < kInfinity && !raised.exact && raised.bound < demand.most_cost * (1 - kTolerance)) {
    add_rents(problem, graph, demand, rents, weight);
    paths.from_start(graph, weight);
    const StageGraph small(problem, loads, graph, mark_promising(graph, demand, rents, weight, paths), time);
    Demand rest = price_of(problem, small);
    rest.most_cost = demand.most_cost;
    LabelSetting::Answer found = LabelSetting(problem, small, rest, rents, paths, width).run();
    answer.bound = std::max(answer.bound, std::min(found.bound, demand.most_cost));
    if (!found.path.empty()) {
      answer.price = usage_of(problem, small, rest, found.path).cost + problem.fixed_price;
      answer.scheme = scheme_of(problem, small, found.path);
    }
  }
  if (answer.scheme.empty() && !best.empty()) {
    answer.price = demand.most_cost + problem.fixed_price;
    answer.scheme = scheme_of(problem, graph, best);
  }
  answer.bound += problem.fixed_price;
  return answer;
}

}  // namespace stageplan
