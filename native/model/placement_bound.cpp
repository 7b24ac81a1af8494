#include "model/placement_bound.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "common/stop.h"

namespace stageplan {
namespace {

constexpr int kRounds = 1000;  // of the prices

// The share of its type's time that each layer takes at least, (layers, types), infinite where it cannot run
// there. One stage has all layers of a type with one label, and their serial parts with them; more stages
// have no more than the devices of the type in all.
std::vector<double> least_shares(const Problem& problem) {
  std::vector<int> labels(problem.types);
  for (int type : problem.label_types()) ++labels[type];
  std::vector<double> shares;
  for (size_t i = 0; i < problem.compute.size(); ++i) {
    const size_t type = i % problem.types;
    const double most = problem.max_devices_per_stage, all = problem.limit[type];
    const double seconds = problem.compute[i], parallel = seconds * problem.compute_parallel[i];
    if (labels[type] == 0 || all == 0 || seconds == kInfinity)
      shares.push_back(kInfinity);
    else if (labels[type] == 1)
      shares.push_back(seconds - parallel + parallel / std::min(all, most));
    else
      shares.push_back(seconds / std::min(all, most * labels[type]));
  }
  return shares;
}

// Of a layer's shares, each times its type's price: the position of the least, or of none.
size_t cheapest(const double* shares, const std::vector<double>& price) {
  size_t best = price.size();
  for (size_t t = 0; t < price.size(); ++t)
    if (shares[t] < kInfinity && (best == price.size() || price[t] * shares[t] < price[best] * shares[best]))
      best = t;
  return best;
}

// Prices on the types' time that add up to 1: every plan is at least as slow as the least shares at these
// prices, added up (weak duality). Types whose time is asked for more than the rest become dearer.
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

// With all the devices that it may have, on the type that is best for it.
double slowest_layer(const Problem& problem, const std::vector<double>& shares) {
  double time = 0;
  for (size_t from = 0; from < shares.size(); from += problem.types) {
    double least = kInfinity;
    for (size_t i = from; i < from + problem.types; ++i) {
      const double most = std::min<double>(problem.limit[i - from], problem.max_devices_per_stage);
      const double parallel = problem.compute[i] * problem.compute_parallel[i];
      if (shares[i] < kInfinity) least = std::min(least, problem.compute[i] - parallel + parallel / most);
    }
    time = std::max(time, least);
  }
  return time;
}

// $/hour of one device, of the layer whose devices are dearest.
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
  const double slack = 1 - 2 * kTolerance;  // of rounding, and of limits that count as met
  return {.cost = problem.cost_scale() * (problem.fixed_price * time + work) * slack,
          .time = time * slack,
          .violation = 0,
          .price = (problem.fixed_price + rent) * slack};
}

}  // namespace stageplan
