#include "search/polish.h"

#include <algorithm>

namespace stageplan {
namespace {

constexpr double kSpread = 0.1;  // relative width of targets around a scheme's stage time
constexpr int kTrials = 8;       // random changes (kicks)

}  // namespace

double target_of(const Problem& problem, const Score& score) {
  if (problem.objective != Objective::price || problem.max_cost < kInfinity || score.violation > 0)
    return score.time;
  return std::min(problem.goal_time(), longest_time(problem));
}

double nearby_time(double time, Rng& rng) { return time * (1 + kSpread * (rng.uniform() - 0.5)); }

std::uint64_t polish(const Problem& problem, WindowSearch& search, Genes& scheme, double time,
                     const Score& best, Rng& rng) {
  search.aim(std::min(time, std::max(problem.goal_time(), best.time)));
  return search.descend(scheme, rng, kTrials);
}

}  // namespace stageplan
