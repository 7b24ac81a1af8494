#include "search/schemes.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "common/stop.h"

namespace stageplan {

void random_scheme(const Problem& problem, Rng& rng, std::int8_t* scheme) {
  const int halvings = std::bit_width(static_cast<unsigned>(problem.layers));
  const double change = std::ldexp(1.0, -rng.below(halvings));
  for (int l = 0; l < problem.layers; ++l)
    scheme[l] = l == 0 || rng.uniform() < change ? static_cast<std::int8_t>(rng.below(problem.labels()))
                                                 : scheme[l - 1];
}

Genes homogeneous_schemes(const Problem& problem) {
  Genes schemes;
  for (int label = 0; label < problem.labels(); ++label)
    if (label == 0 || problem.type_of(label) != problem.type_of(label - 1))
      schemes.insert(schemes.end(), problem.layers, static_cast<std::int8_t>(label));
  return schemes;
}

Genes greedy_scheme(const Problem& problem, const Scorer& scorer) {
  Genes scheme(problem.layers, 0);
  Score current = scorer.score(scheme.data());
  for (size_t l = 0; l < scheme.size(); ++l) {
    Genes best = scheme;
    for (int label = 0; label < problem.labels(); ++label) {
      check_stop();
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

namespace {

struct Descent {
  const Scorer& scorer;
  Genes& scheme;
  Score& best;
  std::uint64_t scored = 0;

  bool try_segment(int first, int last, int label) {
    check_stop();
    Genes candidate = scheme;
    std::fill(candidate.begin() + first, candidate.begin() + last + 1, static_cast<std::int8_t>(label));
    if (candidate == scheme) return false;
    const Score now = scorer.score(candidate.data());
    ++scored;
    if (!better(scorer.problem(), now, best)) return false;
    scheme.swap(candidate);
    best = now;
    return true;
  }

  bool sweep() {
    const int layers = scorer.problem().layers;
    bool improved = false;
    for (int l = 0; l < layers; ++l) {
      int first = l, last = l;
      while (first > 0 && scheme[first - 1] == scheme[l]) --first;
      while (last + 1 < layers && scheme[last + 1] == scheme[l]) ++last;
      for (int label = 0; label < scorer.problem().labels(); ++label) {
        improved |= try_segment(l, l, label);
        if (l == first) improved |= try_segment(l, last, label);
      }
      if (l == first && l > 0)
        for (int reach = 2; l + reach <= layers; reach *= 2)
          improved |= try_segment(l, l + reach - 1, scheme[l - 1]);
      if (l == last && l + 1 < layers)
        for (int reach = 2; reach <= l + 1; reach *= 2)
          improved |= try_segment(l - reach + 1, l, scheme[l + 1]);
    }
    return improved;
  }
};

}  // namespace

std::uint64_t descend(const Scorer& scorer, Genes& scheme, Score& score) {
  Descent descent{scorer, scheme, score};
  while (descent.sweep()) {
  }
  return descent.scored;
}

void transfer(State& state, const Problem& problem, Genes& schemes, size_t count) {
  state(schemes);
  const size_t layers = problem.layers;
  state.check(schemes.size() == count * layers || (count == kAnyCount && schemes.size() % layers == 0));
  state.check(first_bad_gene(schemes.data(), schemes.size(), problem.labels()) == schemes.size());
}

// Only a plan cost, in the place of the objective, may be negative.
void transfer(State& state, const Problem& problem, Score& score) {
  const double least = problem.plan_cost ? -kInfinity : 0;
  for (double* number : {&score.cost, &score.time, &score.violation, &score.price}) {
    state(*number);
    state.check(*number >= least);
  }
}

}  // namespace stageplan
