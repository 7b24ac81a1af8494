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

// One homogeneous scheme of each label and the greedy one at first, then sweeps of local search.
void GreedySearch::step() {
  if (!scheme_.empty()) {
    done_ = !descend();
    return;
  }
  for (int label = 0; label < problem_.labels(); ++label)
    score(Genes(layers_, static_cast<std::int8_t>(label)));
  score(greedy_scheme(problem_, scorer_));
  scheme_ = best();
}

bool GreedySearch::try_segment(int first, int last, int label) {
  Genes candidate = scheme_;
  std::fill(candidate.begin() + first, candidate.begin() + last + 1, static_cast<std::int8_t>(label));
  if (candidate == scheme_) return false;
  score(candidate);
  if (best() != candidate) return false;
  scheme_ = candidate;
  return true;
}

// One sweep over the neighbours of the scheme, each improvement taken at once: another label for a layer, for
// a stage, for an edge of a stage. Returns whether anything improved.
bool GreedySearch::descend() {
  const int layers = problem_.layers;
  bool improved = false;
  for (int l = 0; l < layers; ++l) {
    int first = l, last = l;
    while (first > 0 && scheme_[first - 1] == scheme_[l]) --first;
    while (last + 1 < layers && scheme_[last + 1] == scheme_[l]) ++last;
    for (int label = 0; label < problem_.labels(); ++label) {
      improved |= try_segment(l, l, label);
      if (l == first) improved |= try_segment(l, last, label);
    }
    if (l == first && l > 0)
      for (int reach = 2; l + reach <= layers; reach *= 2)
        improved |= try_segment(l, l + reach - 1, scheme_[l - 1]);
    if (l == last && l + 1 < layers)
      for (int reach = 2; reach <= l + 1; reach *= 2) improved |= try_segment(l - reach + 1, l, scheme_[l + 1]);
  }
  return improved;
}

}  // namespace stageplan
