#include "search/elites.h"

#include <algorithm>

namespace stageplan {
namespace {

constexpr size_t kElites = 64;

}  // namespace

void Elites::add(const Problem& problem, const Score& score, const Genes& scheme) {
  const auto place =
      std::upper_bound(elites_.begin(), elites_.end(), score,
                       [&](const Score& a, const Elite& b) { return better(problem, a, b.score); });
  if (place != elites_.begin() && !better(problem, (place - 1)->score, score)) return;
  elites_.insert(place, {score, scheme});
  if (elites_.size() > kElites) elites_.pop_back();
}

void Elites::transfer(State& state, const Problem& problem) {
  state.size(elites_);
  for (Elite& elite : elites_) {
    stageplan::transfer(state, problem, elite.score);
    stageplan::transfer(state, problem, elite.scheme, 1);
  }
}

const Elites::Elite& Elites::draw(Rng& rng) const {
  const int count = static_cast<int>(elites_.size());
  return elites_[rng.below(1 + rng.below(count))];
}

}  // namespace stageplan
