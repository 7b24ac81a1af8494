#include "policy/reward.h"

#include <algorithm>
#include <cmath>

#include "common/elementary.h"

namespace stageplan {
namespace {

constexpr double kLargest = 10;  // maximum magnitude of a feasible plan's reward
constexpr double kSlow = 0.25;   // factor on the rewards of plan costs, which may be of any magnitude

// Like a logarithm far from 0, on both sides of it.
double inverse_sinh(double x) {
  const double size = std::abs(x);
  return std::copysign(portable::log(size + std::sqrt(size * size + 1)), x);
}

}  // namespace

double reward_of(const Problem& problem, const Score& score, double reference) {
  if (score.violation > 0) return -kLargest - portable::log(1 + std::min(score.violation, 1e9));
  if (problem.plan_cost) {
    const double distance = (reference - objective_of(problem, score)) / std::abs(reference);
    return std::clamp(kSlow * inverse_sinh(distance), -kLargest, kLargest);
  }
  const double ratio = std::max(objective_of(problem, score) / reference, 1e-300);
  return std::clamp(-portable::log(ratio), -kLargest, kLargest);
}

}  // namespace stageplan
