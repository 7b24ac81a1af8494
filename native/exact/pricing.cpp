#include "exact/pricing.h"

#include <algorithm>
#include <numeric>

namespace stageplan {

Pricing::Pricing(const Problem& problem)
    : problem_(problem),
      cheapest_(problem.objective != Objective::throughput),
      per_hour_(problem.objective == Objective::price ? 1 : 0),
      per_second_(problem.objective == Objective::price ? 0 : problem.cost_scale()) {}

double Pricing::cost(double time, const std::vector<Arc>& path) const {
  double sum = fixed(time);
  for (const Arc& arc : path) sum += problem_.price[arc.type] * arc.devices * worth(std::max(time, arc.time));
  return sum;
}

bool Pricing::shares_devices() const {
  return std::any_of(problem_.limit.begin(), problem_.limit.end(),
                     [](double x) { return 1 <= x && x < kInfinity; });
}

bool Pricing::shares_limits() const { return most_of_other() < kInfinity || shares_devices(); }

double Pricing::excess(double to_beat, double longest, const std::vector<double>& least_prices) const {
  const double most = std::min(to_beat, this->most()) * (1 + kTolerance);
  const double spent =
      by_price() ? (most - problem_.fixed_price) * longest * (1 + kTolerance) : most / problem_.cost_scale();
  return spent - std::accumulate(least_prices.begin(), least_prices.end(), 0.0) * (1 - kTolerance);
}

// The part of the other limit left for devices.
double Pricing::most_used(double low) const {
  if (!by_price()) return most_for_devices();
  return problem_.max_cost * (1 + kTolerance) / problem_.cost_scale() - low * problem_.fixed_price;
}

double Pricing::used(const Arc& arc, double low) const {
  const double price = problem_.price[arc.type] * arc.devices;
  return by_price() ? price * std::max(low, arc.time) : price;
}

Demand Pricing::demand(const StageGraph& graph, double low, bool costs, double most_cost) const {
  const bool limited = most_of_other() < kInfinity;
  const double most_used = this->most_used(low);
  Demand demand;
  demand.cost.resize(graph.size());
  if (limited && costs) demand.extra.resize(graph.size());
  for (size_t i = 0; i < graph.size(); ++i) {
    const Arc& arc = graph[i];
    const double price = problem_.price[arc.type] * arc.devices;
    if (costs) demand.cost[i] = price * worth(std::max(low, arc.time));
    if (limited && price > 0) (costs ? demand.extra : demand.cost)[i] = used(arc, low) / most_used;
    if (!costs && !limited) demand.cost[i] = problem_.limit_weight()[arc.type] * arc.devices;
  }
  if (limited && most_used <= 0) {
    demand.most_cost = -1;  // the fixed price alone is too much
  } else if (costs) {
    demand.most_cost = most_cost;
  } else if (limited) {
    demand.most_cost = kWhole;
  } else {
    demand.most_cost = 0;
    for (double limit : problem_.limit) demand.most_cost += limit >= 1 ? kWhole : 0;
  }
  return demand;
}

}  // namespace stageplan
