#include "fixed_target.h"

#include <algorithm>

#include "label_setting.h"

namespace stageplan {
namespace {

constexpr int kSteps = 100;  // of the subgradient

}  // namespace

Cheapest cheapest_at(const Problem& problem, const StageLoads& loads, double time, std::size_t width) {
  const StageGraph graph(problem, loads, time, 1, kInfinity);
  Demand demand;
  for (const Arc& arc : graph.arcs()) demand.cost.push_back(problem.price[arc.type] * arc.devices);
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
    Demand rest{{}, {}, demand.most_cost};
    for (const Arc& arc : small.arcs()) rest.cost.push_back(problem.price[arc.type] * arc.devices);
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
