#include "model/placement_bound.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "common/stop.h"

namespace stageplan {
namespace {

constexpr int kRounds = 1000;  // updates of the multipliers

// Lower bound of the share of its type's time that each layer takes, (layers, types); infinite where it cannot
// run. With one label, one stage holds all layers of a type and all their serial parts; with more, all stages
// have at most the total devices of the type.
std::vector<double> least_shares(const Problem& problem) {
  std::vector<int> labels(problem.types);
  for (int type : problem.label_types()) ++labels[type];
  std::vector<double> shares;
  for (size_t i = 0; i < problem.compute.size(); ++i) {
    const size_t type = i % problem.types;
    const double max_devices = problem.max_devices_per_stage, limit = problem.limit[type];
    const double seconds = problem.compute[i], parallel = seconds * problem.compute_parallel[i];
    if (labels[type] == 0 || limit == 0 || seconds == kInfinity)
      shares.push_back(kInfinity);
    else if (labels[type] == 1)
      shares.push_back(seconds - parallel + parallel / std::min(limit, max_devices));
    else
      shares.push_back(seconds / std::min(limit, max_devices * labels[type]));
  }
  return shares;
}

// The type with the least price * share of a layer, or the number of types if the layer runs on none.
size_t cheapest(const double* shares, const std::vector<double>& price) {
  size_t best = price.size();
  for (size_t t = 0; t < price.size(); ++t)
    if (shares[t] < kInfinity && (best == price.size() || price[t] * shares[t] < price[best] * shares[best]))
      best = t;
  return best;
}

// Lagrange multipliers (`price`) on the types' time that sum to 1: every plan is at least as slow as the sum of
// the cheapest shares at these prices (weak duality). Prices of overused types rise.
double least_time(const std::vector<double>& shares, size_t types) {
  std::vector<double> price(types, 1.0 / static_cast<double>(types)), used(types);
  double best = 0;
  for (int round = 1; round <= kRounds; ++round) {
    check_stop();
    std::fill(used.begin(), used.end(), 0.0);
    for (size_t from = 0; from < shares.size(); from += types) {
      const size_t type = cheapest(&shares[from], price);
      if (type == types) return kInfinity;
      used[type] += shares[from + type];
    }
    const double time = std::inner_product(used.begin(), used.end(), price.begin(), 0.0);
    if (time == 0) break;
    best = std::max(best, time);
    const double step = 0.5 / std::sqrt(round), most = *std::max_element(used.begin(), used.end());
    for (size_t t = 0; t < types; ++t) price[t] *= 1 + step * (used[t] - time) / most;
  }
  return best;
}

// The slowest layer, each on its best type with the maximum number of devices.
double slowest_layer(const Problem& problem, const std::vector<double>& shares) {
  double time = 0;
  for (size_t from = 0; from < shares.size(); from += problem.types) {
    double least = kInfinity;
    for (size_t i = from; i < from + problem.types; ++i) {
      const double max_devices = std::min<double>(problem.limit[i - from], problem.max_devices_per_stage);
      const double parallel = problem.compute[i] * problem.compute_parallel[i];
      if (shares[i] < kInfinity)
        least = std::min(least, problem.compute[i] - parallel + parallel / max_devices);
    }
    time = std::max(time, least);
  }
  return time;
}

// $/hour of one device, for the layer whose cheapest device is the most expensive.
double least_device_price(const Problem& problem, const std::vector<double>& shares) {
  double price = 0;
  for (size_t from = 0; from < shares.size(); from += problem.types) {
    double least = kInfinity;
    for (int t = 0; t < problem.types; ++t)
      if (shares[from + t] < kInfinity) least = std::min(least, problem.price[t]);
    price = std::max(price, least);
  }
  return price;
}

// Devices are paid for at least as long as they compute: the sum over layers, on the cheapest type.
double least_compute_price(const Problem& problem, const std::vector<double>& shares) {
  double price = 0;
  for (size_t from = 0; from < shares.size(); from += problem.types) {
    double least = kInfinity;
    for (size_t i = from; i < from + problem.types; ++i)
      if (shares[i] < kInfinity) least = std::min(least, problem.price[i - from] * problem.compute[i]);
    price += least;
  }
  return price;
}

}  // namespace

Score placement_bound(const Problem& problem) {
  const std::vector<double> shares = least_shares(problem);
  const double time = std::max(least_time(shares, problem.types), slowest_layer(problem, shares));
  if (time == kInfinity) return {};
  const double work = least_compute_price(problem, shares);
  const double rent = std::max(least_device_price(problem, shares), work / problem.goal_time());
  const double slack = 1 - 2 * kTolerance;  // for rounding, and for limits met within the tolerance
  return {.cost = problem.cost_scale() * (problem.fixed_price * time + work) * slack,
          .time = time * slack,
          .violation = 0,
          .price = (problem.fixed_price + rent) * slack};
}

}  // namespace stageplan
