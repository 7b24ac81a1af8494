#include "genetic.h"

#include <algorithm>
#include <numeric>

namespace stageplan {
namespace {

constexpr double kCrossover = 0.8;     // chance that a child has two parents
constexpr double kMoreMutation = 0.4;  // chance of each further mutation
constexpr size_t kElites = 32;         // one elite for so many schemes, at least one
constexpr int kPolishAfter = 10;       // generations without improvement before local search
constexpr int kRestartAfter = 60;      // and before a new population

}  // namespace

Genetic::Genetic(const Problem& problem, int population, std::uint64_t seed, const Genes& initial)
    : Search(problem, kSteps),
      population_(std::max<size_t>(population, initial.size() / problem.layers)),
      seed_(seed) {
  start(initial);
}

void Genetic::start(const Genes& initial) {
  schemes_ = initial;
  for (int label = 0; label < problem_.labels(); ++label)
    if (label == 0 || problem_.type_of(label) != problem_.type_of(label - 1))
      schemes_.insert(schemes_.end(), layers_, static_cast<std::int8_t>(label));
  const Genes greedy = greedy_scheme();
  schemes_.insert(schemes_.end(), greedy.begin(), greedy.end());
  fill_randomly(schemes_);
}

void Genetic::fill_randomly(Genes& schemes) {
  const size_t given = std::min(schemes.size() / layers_, population_);
  schemes.resize(population_ * layers_);
  Rng rng(seed_, 1, generation_);
  for (size_t i = given; i < population_; ++i) random_scheme(problem_, rng, &schemes[i * layers_]);
  scores_.resize(population_);
  score(schemes.data(), population_, scores_.data());
  population_best_ = *std::min_element(scores_.begin(), scores_.end(),
                                       [&](const Score& a, const Score& b) { return better(a, b); });
}

void Genetic::restart() {
  schemes_.clear();
  fill_randomly(schemes_);
  stagnation_ = 0;
}

void Genetic::step(int generations) {
  for (int i = 0; i < generations; ++i) step();
}

void Genetic::step() {
  ++generation_;
  if (stagnation_ >= kRestartAfter) {
    restart();
    return;
  }
  breed();
  if (++stagnation_ == kPolishAfter) polish();
  const auto best = std::min_element(scores_.begin(), scores_.end(),
                                     [&](const Score& a, const Score& b) { return better(a, b); });
  if (better(*best, population_best_)) {
    population_best_ = *best;
    stagnation_ = 0;
  }
}

void Genetic::breed() {
  const size_t elites = std::max<size_t>(1, population_ / kElites);
  next_.resize(schemes_.size());
  next_scores_.resize(population_);
  keep_elites();
  Rng rng(seed_, 0, generation_);
  for (size_t i = elites; i < population_; ++i) make_child(&next_[i * layers_], schemes_, rng);
  score(&next_[elites * layers_], population_ - elites, &next_scores_[elites]);
  schemes_.swap(next_);
  scores_.swap(next_scores_);
}

// Copies the best schemes, in order, to the front of the next generation.
void Genetic::keep_elites() {
  const size_t elites = std::max<size_t>(1, population_ / kElites);
  std::vector<size_t> order(population_);
  std::iota(order.begin(), order.end(), size_t{0});
  const auto before = [&](size_t a, size_t b) {
    return better(scores_[a], scores_[b]) || (!better(scores_[b], scores_[a]) && a < b);
  };
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(elites), order.end(), before);
  for (size_t e = 0; e < elites; ++e) {
    std::copy_n(&schemes_[order[e] * layers_], layers_, &next_[e * layers_]);
    next_scores_[e] = scores_[order[e]];
  }
}

size_t Genetic::tournament(Rng& rng) const {
  const size_t a = rng.below(static_cast<int>(population_)), b = rng.below(static_cast<int>(population_));
  return better(scores_[b], scores_[a]) ? b : a;
}

void Genetic::make_child(std::int8_t* child, const Genes& parents, Rng& rng) const {
  std::copy_n(&parents[tournament(rng) * layers_], layers_, child);
  const bool crossed = layers_ > 1 && rng.uniform() < kCrossover;
  if (crossed) {
    const size_t cut = 1 + rng.below(problem_.layers - 1);
    std::copy_n(&parents[tournament(rng) * layers_ + cut], layers_ - cut, child + cut);
  }
  if (!crossed) mutate(child, rng);
  while (rng.uniform() < kMoreMutation) mutate(child, rng);
}

// A random label for one layer or for a random run of layers, or a stage's edge given to its neighbour.
void Genetic::mutate(std::int8_t* scheme, Rng& rng) const {
  const int kind = rng.below(4);
  if (kind >= 2) return shift_boundary(scheme, rng);
  const int first = rng.below(problem_.layers);
  const int length = kind == 0 ? 1 : 1 + rng.below(problem_.layers - first);
  std::fill_n(scheme + first, length, static_cast<std::int8_t>(rng.below(problem_.labels())));
}

void Genetic::shift_boundary(std::int8_t* scheme, Rng& rng) const {
  const int layers = problem_.layers;
  if (layers < 2) return;
  int at = 1 + rng.below(layers - 1);  // the first boundary from here on, round the end
  for (int tried = 0; tried < layers && scheme[at] == scheme[at - 1]; ++tried)
    at = at + 1 < layers ? at + 1 : 1;
  const int length = 1 + rng.below(1 + rng.below(4));
  if (rng.below(2) == 0)
    std::fill_n(scheme + at, std::min(length, layers - at), scheme[at - 1]);
  else
    std::fill(scheme + std::max(0, at - length), scheme + at, scheme[at]);
}

// Local search on the best scheme of the population, which then takes the place of its first elite.
void Genetic::polish() {
  const auto best = std::min_element(scores_.begin(), scores_.end(),
                                     [&](const Score& a, const Score& b) { return better(a, b); });
  const size_t i = static_cast<size_t>(best - scores_.begin());
  Genes scheme(&schemes_[i * layers_], &schemes_[i * layers_] + layers_);
  while (descend(scheme, *best)) {
  }
  std::copy(scheme.begin(), scheme.end(), &schemes_[i * layers_]);
}

}  // namespace stageplan
