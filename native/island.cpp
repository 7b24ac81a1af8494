#include "island.h"

#include <algorithm>
#include <cmath>

#include "schemes.h"

namespace stageplan {
namespace {

constexpr int kPolishEvery = 4;        // generations without improvement between local searches
constexpr int kRestartAfter = 64;      // and before a new population
constexpr int kSteps = 256;            // devices beyond the goal that scoring looks at, where it provisions
constexpr double kInfeasible = 1e200;  // above every feasible fitness

bool at_target(const Problem& problem) {
  return problem.merge == Merge::adjacent &&
         (problem.objective == Objective::cost || problem.max_devices_per_stage == 1);
}

std::shared_ptr<const Scorer> make_scorer(const Problem& problem, double time) {
  auto scorer = at_target(problem) ? std::make_shared<Scorer>(problem, time) : nullptr;
  if (scorer && scorer->table().stored()) return scorer;
  return std::make_shared<Scorer>(problem, kSteps);
}

}  // namespace

Start::Start(const Problem& problem, const Genes& initial) : schemes(initial) {
  const size_t layers = problem.layers;
  for (int label = 0; label < problem.labels(); ++label)
    if (label == 0 || problem.type_of(label) != problem.type_of(label - 1))
      schemes.insert(schemes.end(), layers, static_cast<std::int8_t>(label));
  const Scorer exact(problem);
  std::vector<double> numbers(3 * schemes.size() / layers);
  const size_t count = schemes.size() / layers;
  const ScoreArrays scores{numbers.data(), numbers.data() + count, numbers.data() + 2 * count};
  exact.score(schemes.data(), count, scores);
  size_t best = 0;
  for (size_t i = 1; i < count; ++i)
    if (better(problem, scores[i], scores[best])) best = i;
  scorer = make_scorer(problem, problem.max_devices_per_stage == 1
                                    ? kInfinity
                                    : std::min(problem.goal_time(), scores[best].time));
  Genes greedy(schemes.begin() + best * layers, schemes.begin() + (best + 1) * layers);
  Score score = scores[best];
  if (scorer->table().stored())
    LocalSearch(problem, scorer->table()).descend(greedy.data(), score);
  else
    greedy = greedy_scheme(problem, *scorer);
  schemes.insert(schemes.end(), greedy.begin(), greedy.end());
}

Island::Island(const Problem& problem, size_t size, std::uint64_t seed, std::uint64_t index, const Start& start)
    : problem_(problem),
      layers_(problem.layers),
      size_(size),
      seed_(seed),
      index_(index),
      scorer_(start.scorer),
      provisioner_(problem) {
  if (scorer_->table().stored()) local_search_.emplace(problem, scorer_->table());
  fill(index == 0 ? start.schemes : Genes());
  if (index == 0)  // also those that the population has no room for
    for (size_t i = 0; i < start.schemes.size(); i += layers_) provision(&start.schemes[i]);
}

void Island::fill(const Genes& given) {
  now_.genes = given;
  const size_t from = std::min(size_, given.size() / layers_);
  now_.genes.resize(size_ * layers_);
  now_.fitness.resize(size_);
  Rng rng(seed_, 2 * index_ + 1, generation_);
  for (size_t i = from; i < size_; ++i) random_scheme(problem_, rng, &now_.genes[i * layers_]);
  score(now_, 0, size_);
  least_ = now_.fitness[fittest()];
  stagnation_ = 0;
  provision(&now_.genes[fittest() * layers_]);
}

size_t Island::fittest() const {
  return static_cast<size_t>(std::min_element(now_.fitness.begin(), now_.fitness.end()) - now_.fitness.begin());
}

double Island::fitness(double cost, double time, double violation) const {
  if (violation > 0) return kInfeasible * (1 + violation);
  return problem_.objective == Objective::cost ? cost : time;
}

void Island::score(Population& population, size_t from, size_t count) {
  numbers_.resize(3 * count);
  const ScoreArrays scores{numbers_.data(), numbers_.data() + count, numbers_.data() + 2 * count};
  scorer_->score(&population.genes[from * layers_], count, scores);
  for (size_t i = 0; i < count; ++i)
    population.fitness[from + i] = fitness(scores.cost[i], scores.time[i], scores.violation[i]);
  evaluations_ += count;
}

void Island::step() {
  ++generation_;
  if (stagnation_ >= kRestartAfter) return restart();
  breed();
  const size_t best = fittest();
  if (now_.fitness[best] < least_) {
    least_ = now_.fitness[best];
    stagnation_ = 0;
    provision(&now_.genes[best * layers_]);
  } else if (++stagnation_ % kPolishEvery == 0) {
    polish();
  }
}

// The fittest scheme stays, the others are bred.
void Island::breed() {
  next_.genes.resize(now_.genes.size());
  next_.fitness.resize(size_);
  const size_t best = fittest();
  std::copy_n(&now_.genes[best * layers_], layers_, next_.genes.data());
  next_.fitness[0] = now_.fitness[best];
  Rng rng(seed_, 2 * index_, generation_);
  for (size_t i = 1; i < size_; ++i) make_child(&next_.genes[i * layers_], rng);
  score(next_, 1, size_ - 1);
  std::swap(now_, next_);
}

size_t Island::tournament(Rng& rng) const {
  const std::uint64_t draw = rng.next();
  const size_t a = (draw >> 32) * size_ >> 32, b = (draw & 0xffffffff) * size_ >> 32;
  return now_.fitness[b] < now_.fitness[a] ? b : a;
}

// Four children in five have two parents; a child has one mutation on average, and at least one if it has
// one parent.
void Island::make_child(std::int8_t* child, Rng& rng) const {
  std::copy_n(&now_.genes[tournament(rng) * layers_], layers_, child);
  const bool crossed = layers_ > 1 && rng.below(5) > 0;
  if (crossed) {
    const size_t cut = 1 + rng.below(problem_.layers - 1);
    std::copy_n(&now_.genes[tournament(rng) * layers_ + cut], layers_ - cut, child + cut);
  }
  if (!crossed || rng.below(2) == 0) mutate(child, rng);
  while (rng.below(3) == 0) mutate(child, rng);
}

// A random label for one layer or for a run of layers, or a stage's edge given to its neighbour.
void Island::mutate(std::int8_t* scheme, Rng& rng) const {
  const int kind = rng.below(4);
  if (kind >= 2) return shift_boundary(scheme, rng);
  const int first = rng.below(problem_.layers);
  const int length = kind == 0 ? 1 : 1 + rng.below(problem_.layers - first);
  std::fill_n(scheme + first, length, static_cast<std::int8_t>(rng.below(problem_.labels())));
}

void Island::shift_boundary(std::int8_t* scheme, Rng& rng) const {
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

// Local search on a child of the population, of its best at first; it takes the place of a less fit one.
void Island::polish() {
  if (!local_search_) return;
  Rng rng(seed_, 2 * index_ + 1, generation_);
  Genes scheme(layers_);
  if (stagnation_ == kPolishEvery) {
    std::copy_n(&now_.genes[fittest() * layers_], layers_, scheme.data());
  } else {
    make_child(scheme.data(), rng);
    for (int i = 0; i < 2; ++i) mutate(scheme.data(), rng);
  }
  Score score;
  evaluations_ += local_search_->descend(scheme.data(), score);
  const size_t a = tournament(rng), b = tournament(rng);
  put(scheme, now_.fitness[a] < now_.fitness[b] ? b : a);
  if (const double improved = now_.fitness[fittest()]; improved < least_) {
    least_ = improved;
    stagnation_ = 0;
  }
  provision(scheme.data());
}

void Island::put(const Genes& scheme, size_t position) {
  if (position == fittest()) position = (position + 1) % size_;
  std::copy(scheme.begin(), scheme.end(), &now_.genes[position * layers_]);
  score(now_, position, 1);
}

void Island::receive(const Genes& scheme) {
  Rng rng(seed_, 2 * index_ + 1, ~generation_);
  put(scheme, rng.below(static_cast<int>(size_)));
}

// Gives a scheme its best devices and keeps it if it is the best.
void Island::provision(const std::int8_t* scheme) {
  merge(problem_, scorer_->loads(), scheme, stages_);
  const Score score = provisioner_.best(stages_);
  if (!best_.empty() && !better(problem_, score, best_score_)) return;
  best_score_ = score;
  best_.assign(scheme, scheme + layers_);
}

// A new population, at a target about the throughput of the best plan.
void Island::restart() {
  if (local_search_ && problem_.max_devices_per_stage > 1) {
    Rng rng(seed_, 2 * index_ + 1, generation_ + 1);
    retarget(best_score_.time * std::exp(0.2 * (rng.uniform() - 0.5)));
  }
  fill({});
}

void Island::retarget(double time) {
  scorer_ = make_scorer(problem_, std::min(time, problem_.goal_time()));
  local_search_.emplace(problem_, scorer_->table());
}

}  // namespace stageplan
