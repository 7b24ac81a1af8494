#include "search.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace stageplan {
namespace {

constexpr size_t kBatch = 1024;  // schemes a step of the simple searches

}  // namespace

void Search::keep(const std::int8_t* scheme, const Score& score) {
  if (!best_.empty() && !better(problem_, score, best_score_)) return;
  best_score_ = score;
  best_.assign(scheme, scheme + layers_);
}

void ExactSearch::score(const Genes& schemes) {
  const size_t count = schemes.size() / layers_;
  std::vector<double> numbers(3 * count);
  const ScoreArrays scores{numbers.data(), numbers.data() + count, numbers.data() + 2 * count};
  scorer_.score(schemes.data(), count, scores, threads_);
  for (size_t i = 0; i < count; ++i) keep(&schemes[i * layers_], scores[i]);
  evaluations_ += count;
}

void RandomSearch::step() {
  Genes schemes(kBatch * layers_);
  Rng rng(seed_, 0, steps_++);
  for (size_t i = 0; i < kBatch; ++i) random_scheme(problem_, rng, &schemes[i * layers_]);
  score(schemes);
}

Enumeration::Enumeration(const Problem& problem, int threads)
    : ExactSearch(problem, threads), scheme_(layers_, 0) {
  if (std::pow(problem.labels(), problem.layers) > kMostSchemes)
    throw std::invalid_argument("method 'enumerate' tries at most 16777216 schemes; " +
                                std::to_string(problem.labels()) + " labels on " +
                                std::to_string(problem.layers) + " layers make more");
}

// Counts up, last layer fastest; false after the last scheme.
bool Enumeration::next() {
  for (size_t l = layers_; l-- > 0;) {
    if (scheme_[l] + 1 < problem_.labels()) {
      ++scheme_[l];
      return true;
    }
    scheme_[l] = 0;
  }
  return false;
}

void Enumeration::step() {
  Genes schemes;
  do {
    schemes.insert(schemes.end(), scheme_.begin(), scheme_.end());
    done_ = !next();
  } while (!done_ && schemes.size() < kBatch * layers_);
  score(schemes);
}

void GreedySearch::step() {
  for (int label = 0; label < problem_.labels(); ++label)
    score(Genes(layers_, static_cast<std::int8_t>(label)));
  score(greedy_scheme(problem_, scorer_));
  Genes scheme = best();
  Score found = best_score();
  evaluations_ += descend(scorer_, scheme, found);
  keep(scheme.data(), found);
  done_ = true;
}

}  // namespace stageplan
