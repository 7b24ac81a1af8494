#include "island.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <numeric>

#include "schemes.h"

namespace stageplan {
namespace {

constexpr int kTrials = 8;              // local searches in a generation without improvement
constexpr int kRestartAfter = 32;       // such generations before a new population
constexpr int kSteps = 256;             // devices beyond the goal that scoring looks at, where it provisions
constexpr int kLadder = 18;             // targets tried at the start, down to an eighth of the first
constexpr double kLadderEntries = 2e7;  // but no more stages than that in all
constexpr double kInfeasible = 1e200;   // above every feasible fitness

bool at_target(const Problem& problem) {
  return problem.merge == Merge::adjacent &&
         (problem.objective == Objective::cost || problem.max_devices_per_stage == 1);
}

std::shared_ptr<const Scorer> make_scorer(const Problem& problem, double time) {
  auto scorer = at_target(problem) ? std::make_shared<Scorer>(problem, time) : nullptr;
  if (scorer && scorer->table().stored()) return scorer;
  return std::make_shared<Scorer>(problem, kSteps);
}

// The best of some schemes, exactly provisioned.
std::pair<size_t, Score> best_of(const Scorer& exact, const Genes& schemes) {
  const size_t layers = exact.problem().layers;
  std::pair<size_t, Score> best;
  for (size_t i = 0; i < schemes.size(); i += layers)
    if (const Score score = exact.score(&schemes[i]); i == 0 || better(exact.problem(), score, best.second))
      best = {i, score};
  return best;
}

// Local search at one target after the other, each from where the last one ended, tells which of them are
// promising.
void try_targets(const Scorer& exact, Genes scheme, double longest, Start& start) {
  const Problem& problem = exact.problem();
  std::vector<std::pair<Score, double>> found;
  const double entries = 0.5 * problem.layers * problem.layers * problem.types;
  const int steps = std::clamp(static_cast<int>(kLadderEntries / entries), 6, kLadder);
  for (int step = 0; step < steps; ++step) {
    const double time = longest * std::exp2(-3.0 * step / steps);
    const StageTable table(problem, exact.loads(), time);
    Score score;
    LocalSearch(problem, table).descend(scheme.data(), score);
    start.schemes.insert(start.schemes.end(), scheme.begin(), scheme.end());
    found.emplace_back(exact.score(scheme.data()), time);
  }
  std::stable_sort(found.begin(), found.end(),
                   [&](const auto& a, const auto& b) { return better(problem, a.first, b.first); });
  for (const auto& [score, time] : found) start.times.push_back(std::min({time, score.time, longest}));
}

}  // namespace

Start::Start(const Problem& problem, const Genes& initial) : schemes(initial) {
  for (int label = 0; label < problem.labels(); ++label)
    if (label == 0 || problem.type_of(label) != problem.type_of(label - 1))
      schemes.insert(schemes.end(), problem.layers, static_cast<std::int8_t>(label));
  const Scorer exact(problem, kSteps);
  const auto [at, score] = best_of(exact, schemes);
  const Genes best(schemes.begin() + static_cast<std::ptrdiff_t>(at),
                   schemes.begin() + static_cast<std::ptrdiff_t>(at) + problem.layers);
  if (!at_target(problem)) {
    scorer = make_scorer(problem, 0);
    const Genes greedy = greedy_scheme(problem, *scorer);
    schemes.insert(schemes.end(), greedy.begin(), greedy.end());
  } else if (problem.max_devices_per_stage == 1) {
    scorer = make_scorer(problem, kInfinity);
  } else {
    const double longest = problem.goal_time() < kInfinity ? problem.goal_time() : 2 * score.time;
    try_targets(exact, best, longest, *this);
    scorer = make_scorer(problem, times.front());
  }
}

Island::Island(const Problem& problem, size_t size, std::uint64_t seed, std::uint64_t index, const Start& start)
    : problem_(problem),
      layers_(problem.layers),
      size_(size),
      seed_(seed),
      index_(index),
      scorer_(start.scorer),
      provisioner_(problem),
      times_(start.times) {
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
  if (!scorer_->table().stored()) return;
  local_search_.emplace(problem_, scorer_->table());
  current_ = best_;
  evaluations_ += local_search_->descend(current_.data(), current_score_);
  provision(current_.data());
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
  } else {
    ++stagnation_;
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

// Iterated local search beside the population: a few layers of its scheme are overwritten at random and the
// damage mended; what is no worse stays.
void Island::improve() {
  Rng rng(seed_, 2 * index_ + 1, generation_);
  const int layers = problem_.layers;
  for (int trial = 0; trial < kTrials; ++trial) {
    Genes scheme = current_;
    const int stages = 1 + static_cast<int>(std::inner_product(scheme.begin() + 1, scheme.end(), scheme.begin(),
                                                               0, std::plus<>(), std::not_equal_to<>()));
    const int first = rng.below(layers);
    const int last = std::min(layers - 1, first + rng.below(2 * layers / stages));
    std::fill(scheme.begin() + first, scheme.begin() + last + 1,
              static_cast<std::int8_t>(rng.below(problem_.labels())));
    Score score;
    evaluations_ += local_search_->descend(scheme.data(), score, first, last);
    if (better(problem_, current_score_, score)) continue;
    current_ = scheme;
    current_score_ = score;
  }
}

void Island::polish() {
  if (!local_search_) return;
  improve();
  Rng rng(seed_, 2 * index_ + 1, ~generation_);
  put(current_, tournament(rng));
  if (const double least = now_.fitness[fittest()]; least < least_) {
    least_ = least;
    stagnation_ = 0;
  }
  provision(current_.data());
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

// A new population, at a new target.
void Island::restart() {
  ++restarts_;
  if (!times_.empty()) scorer_ = make_scorer(problem_, std::min(next_target(), problem_.goal_time()));
  fill({});
}

// About one of the start's, the more promising the likelier, or in every other turn about that of the best.
double Island::next_target() {
  Rng rng(seed_, 2 * index_ + 1, generation_ + 1);
  const double near = std::exp(0.2 * (rng.uniform() - 0.5));
  if ((restarts_ + index_) % 2 == 1) return near * best_score_.time;
  const size_t place = static_cast<size_t>(std::countl_zero(rng.next() | 1));
  return near * times_[std::min(place, times_.size() - 1)];
}

}  // namespace stageplan
