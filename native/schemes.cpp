#include "schemes.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace stageplan {

void random_scheme(const Problem& problem, Rng& rng, std::int8_t* scheme) {
  const int halvings = std::bit_width(static_cast<unsigned>(problem.layers));
  const double change = std::ldexp(1.0, -rng.below(halvings));
  for (int l = 0; l < problem.layers; ++l)
    scheme[l] = l == 0 || rng.uniform() < change ? static_cast<std::int8_t>(rng.below(problem.labels()))
                                                 : scheme[l - 1];
}

Genes greedy_scheme(const Problem& problem, const Scorer& scorer) {
  Genes scheme(problem.layers, 0);
  Score current = scorer.score(scheme.data());
  for (size_t l = 0; l < scheme.size(); ++l) {
    Genes best = scheme;
    for (int label = 0; label < problem.labels(); ++label) {
      std::fill(scheme.begin() + static_cast<std::ptrdiff_t>(l), scheme.end(), static_cast<std::int8_t>(label));
      const Score now = scorer.score(scheme.data());
      if (!better(problem, now, current)) continue;
      current = now;
      best = scheme;
    }
    scheme = best;
  }
  return scheme;
}

}  // namespace stageplan
