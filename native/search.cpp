#include "search.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <stdexcept>

namespace stageplan {
namespace {

constexpr size_t kBatch = 1024;  // schemes a step of the simple searches

}  // namespace

Search::Search(const Problem& problem, int steps)
    : problem_(problem), layers_(problem.layers), scorer_(problem, steps) {}

void Search::score(const std::int8_t* schemes, size_t count, Score* scores) {
  std::vector<double> numbers(3 * count);
  const ScoreArrays arrays{numbers.data(), numbers.data() + count, numbers.data() + 2 * count};
  scorer_.score(schemes, count, arrays);
  evaluations_ += count;
  for (size_t i = 0; i < count; ++i) {
    scores[i] = {arrays.cost[i], arrays.time[i], arrays.violation[i]};
    if (!best_.empty() && !better(scores[i], best_score_)) continue;
    best_score_ = scores[i];
    best_.assign(schemes + i * layers_, schemes + (i + 1) * layers_);
  }
}

Score Search::score(const Genes& scheme) {
  Score result;
  score(scheme.data(), 1, &result);
  return result;
}

Genes Search::greedy_scheme() {
  Genes scheme(layers_, 0);
  Score current = score(scheme);
  for (size_t l = 0; l < layers_; ++l) {
    Genes best = scheme;
    for (int label = 0; label < problem_.labels(); ++label) {
      std::fill(scheme.begin() + static_cast<std::ptrdiff_t>(l), scheme.end(), static_cast<std::int8_t>(label));
      const Score now = score(scheme);
      if (!better(now, current)) continue;
      current = now;
      best = scheme;
    }
    scheme = best;
  }
  return scheme;
}

bool Search::try_segment(Genes& scheme, Score& best, int first, int last, int label) {
  Genes candidate = scheme;
  std::fill(candidate.begin() + first, candidate.begin() + last + 1, static_cast<std::int8_t>(label));
  if (candidate == scheme) return false;
  const Score now = score(candidate);
  if (!better(now, best)) return false;
  scheme = candidate;
  best = now;
  return true;
}

bool Search::descend(Genes& scheme, Score& best) {
  const int layers = problem_.layers;
  bool improved = false;
  for (int l = 0; l < layers; ++l) {
    int first = l, last = l;
    while (first > 0 && scheme[first - 1] == scheme[l]) --first;
    while (last + 1 < layers && scheme[last + 1] == scheme[l]) ++last;
    for (int label = 0; label < problem_.labels(); ++label) {
      improved |= try_segment(scheme, best, l, l, label);
      if (l == first) improved |= try_segment(scheme, best, l, last, label);
    }
    if (l == first && l > 0)
      for (int reach = 2; l + reach <= layers; reach *= 2)
        improved |= try_segment(scheme, best, l, l + reach - 1, scheme[l - 1]);
    if (l == last && l + 1 < layers)
      for (int reach = 2; reach <= l + 1; reach *= 2)
        improved |= try_segment(scheme, best, l - reach + 1, l, scheme[l + 1]);
  }
  return improved;
}

void random_scheme(const Problem& problem, Rng& rng, std::int8_t* scheme) {
  const int halvings = std::bit_width(static_cast<unsigned>(problem.layers));
  const double change = std::ldexp(1.0, -rng.below(halvings));
  for (int l = 0; l < problem.layers; ++l)
    scheme[l] = l == 0 || rng.uniform() < change ? static_cast<std::int8_t>(rng.below(problem.labels()))
                                                 : scheme[l - 1];
}

void RandomSearch::step() {
  Genes schemes(kBatch * layers_);
  std::vector<Score> scores(kBatch);
  Rng rng(seed_, 0, steps_++);
  for (size_t i = 0; i < kBatch; ++i) random_scheme(problem_, rng, &schemes[i * layers_]);
  score(schemes.data(), kBatch, scores.data());
}

Enumeration::Enumeration(const Problem& problem)
    : Search(problem, Provisioner::kAllSteps), scheme_(layers_, 0) {
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
  std::vector<Score> scores(schemes.size() / layers_);
  score(schemes.data(), scores.size(), scores.data());
}

void GreedySearch::step() {
  if (scheme_.empty()) {
    greedy_scheme();
    scheme_ = best();  // greedy_scheme tries every homogeneous scheme too
    score_ = best_score();
  } else {
    done_ = !descend(scheme_, score_);
  }
}

}  // namespace stageplan
