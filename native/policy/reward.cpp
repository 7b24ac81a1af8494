#include "policy/reward.h"

#include <algorithm>

#include "common/elementary.h"

namespace stageplan {
namespace {

constexpr double kLargest = 10;  // maximum magnitude of a feasible plan's reward

}  // namespace

double reward_of(const Problem& problem, const Score& score, double reference) {
  if (score.violation > 0) return -kLargest - portable::log(1 + std::min(score.violation, 1e9));
  const double ratio = std::max(objective_of(problem, score) / reference, 1e-300);
  return std::clamp(-portable::log(ratio), -kLargest, kLargest);
}

}  // namespace stageplan
