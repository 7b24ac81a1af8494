#include "genetic/island.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "common/stop.h"
#include "kernels/instruction_set.h"
#include "search/perturb.h"
#include "search/polish.h"

namespace stageplan {
namespace {

constexpr size_t kBlock = 1024;    // children bred and scored together
constexpr size_t kSmall = 512;     // size of a population above which local search would take most of the time
constexpr int kPolishEvery = 4;    // generations without improvement between local searches, with exact scoring
constexpr int kTrials = 8;         // local searches in a generation without improvement
constexpr int kRestartAfter = 16;  // generations without improvement before a restart of a small population
constexpr int kSteps = 256;        // devices beyond the goal's that exact scoring considers
constexpr double kFarFromBest = 1.5;   // factor on the best objective at which the sequence of targets ends
constexpr int kOptionSteps = 1 << 12;  // of provisioning where stages are chosen among options
constexpr double kNearAims = 0.2;      // width, as a logarithm, of most stage times around an elite's, there
constexpr double kFarAims = 3;         // of the others
constexpr size_t kGivenElites = 32;    // elites in the first population of a new aim
constexpr double kInfeasible = 1e200;  // above every feasible fitness

bool aims_at_options(const Problem& problem) { return problem.by_options() && !problem.plan_cost; }

bool at_target(const Problem& problem) {
  if (problem.plan_cost) return false;
  if (problem.by_options()) return true;
  const size_t bytes = std::max(StageTable::bytes(problem), WindowSearch::bytes(problem));
  return problem.merge == Merge::adjacent && bytes <= StageTable::kMaxBytes &&
         (problem.objective != Objective::throughput || problem.max_devices_per_stage == 1);
}

// Initial targets: each shorter than the previous one by 2 to the power of -1/12.
constexpr int kTargets = 72;
constexpr double kShorter = 0.9438743126816935;

// The longest target, given the best plan on one type.
double first_target(const Problem& problem, const Score& score) {
  if (problem.goal_time() < kInfinity) return problem.goal_time();
  return problem.objective == Objective::price ? longest_time(problem) : 2 * score.time;
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

// Local search at a sequence of targets, each from the result of the previous one.
void try_targets(const Scorer& exact, Genes scheme, double longest, InitialPopulation& initial_population) {
  const Problem& problem = exact.problem();
  WindowSearch search(problem);
  double time = longest;
  for (int target = 0; target < kTargets; ++target, time *= kShorter) {
    search.aim(time);
    search.descend(scheme);
    initial_population.schemes.insert(initial_population.schemes.end(), scheme.begin(), scheme.end());
    const Score score = exact.score(scheme.data());
    initial_population.elites.add(problem, score, scheme);
    const Score& best = initial_population.elites.best().score;
    if (best.violation == 0 && objective_of(problem, score) > kFarFromBest * objective_of(problem, best)) break;
  }
}

// The first schemes of the problem without its plan cost, which are good for many plan costs, too.
Genes schemes_for_objective(const Problem& problem) {
  ProblemData data = problem.data();
  data.plan_cost = nullptr;
  const Problem plain(std::move(data));
  const InitialPopulation population(plain, Genes());
  Genes schemes = population.schemes;
  for (const Elites::Elite& elite : population.elites.all())
    schemes.insert(schemes.end(), elite.scheme.begin(), elite.scheme.end());
  return schemes;
}

}  // namespace

std::shared_ptr<const Scorer> Scoring::scorer(const Problem& problem) const {
  return time ? std::make_shared<const Scorer>(problem, *time, Allowed::stage, weights)
              : std::make_shared<const Scorer>(problem, problem.plan_cost ? Provisioner::kAllSteps : kSteps);
}

void Scoring::transfer(State& state) {
  bool at_target = time.has_value();
  double seconds = time.value_or(0);
  state(at_target);
  state(seconds);
  state.check(seconds >= 0);
  for (double* weight : {&weights.pass, &weights.sync}) {
    state(*weight);
    state.check(*weight >= 0);
  }
  state(weights.device);
  state.check(std::all_of(weights.device.begin(), weights.device.end(), [](double x) { return x >= 0; }));
  if (state.loading()) time = at_target ? std::optional(seconds) : std::nullopt;
}

InitialPopulation::InitialPopulation(const Problem& problem, const Genes& initial) : schemes(initial) {
  const Genes homogeneous = homogeneous_schemes(problem);
  schemes.insert(schemes.end(), homogeneous.begin(), homogeneous.end());
  const Scorer exact(problem, kSteps);
  const auto [at, score] = best_of(exact, schemes);
  const Genes best(schemes.begin() + static_cast<std::ptrdiff_t>(at),
                   schemes.begin() + static_cast<std::ptrdiff_t>(at) + problem.layers);
  if (!at_target(problem)) {
    scorer = scoring.scorer(problem);
    const Genes greedy = greedy_scheme(problem, *scorer);
    schemes.insert(schemes.end(), greedy.begin(), greedy.end());
    if (!problem.plan_cost) return;
    const Genes others = schemes_for_objective(problem);
    schemes.insert(schemes.end(), others.begin(), others.end());
  } else if (problem.by_options()) {
    aim = OptionAims(exact, elites, schemes).search(best);
    scoring = {aim.time, aim.weights};
  } else if (problem.max_devices_per_stage == 1) {
    scoring.time = kInfinity;
  } else {
    try_targets(exact, best, first_target(problem, score), *this);
    scoring.time = target_of(problem, elites.best().score);
  }
  if (!scorer) scorer = scoring.scorer(problem);
}

Island::Island(const Problem& problem, size_t size, std::uint64_t seed, std::uint64_t index,
               const InitialPopulation& initial_population)
    : problem_(problem),
      layers_(problem.layers),
      size_(size),
      seed_(seed),
      index_(index),
      scoring_(initial_population.scoring),
      scorer_(initial_population.scorer),
      breed_(instruction_set().breed),
      provisioner_(problem),
      elites_(initial_population.elites),
      aim_(initial_population.aim),
      limited_(problem.limits_devices()) {
  if (!elites_.empty() && !aims_at_options(problem)) window_search_.emplace(problem_);
  fill(index == 0 ? initial_population.schemes : Genes());
  if (index == 0 && aims_at_options(problem))
    provision(elites_.best().scheme.data());
  else if (index == 0)  // also those for which the population has no room
    for (size_t i = 0; i < initial_population.schemes.size(); i += layers_)
      provision(&initial_population.schemes[i]);
}

void Island::fill(const Genes& given) {
  now_.genes = given;
  const size_t from = std::min(size_, given.size() / layers_);
  now_.genes.resize(size_ * layers_);
  now_.fitness.resize(size_);
  Rng rng(seed_, 2 * index_ + 1, generation_);
  for (size_t i = from; i < size_; ++i) {
    check_stop_often();
    random_scheme(problem_, rng, &now_.genes[i * layers_]);
  }
  score(now_, 0, size_, kInfinity);
  now_.find_fittest();
  least_ = now_.fitness[now_.fittest];
  stagnation_ = 0;
  const std::int8_t* fittest_genes = &now_.genes[now_.fittest * layers_];
  provision(fittest_genes);
  make_local_search();
  if (!local_search_) return;
  current_ = restarts_ == 0 || rng.below(2) == 0 ? best_ : Genes(fittest_genes, fittest_genes + layers_);
  evaluations_ += local_search_->descend(current_.data(), current_score_);
  provision(current_.data());
}

void Island::make_local_search() {
  local_search_.reset();
  if (!window_search_ && scorer_->table().stored()) local_search_.emplace(problem_, scorer_->table());
}

void Island::transfer(State& state) {
  Scoring scoring = scoring_;
  scoring.transfer(state);
  const std::vector<double>& prices = scoring.weights.device;
  state.check(prices.empty() || prices.size() == problem_.price.size());
  for (std::uint64_t* number : {&seed_, &generation_, &evaluations_, &restarts_}) state(*number);
  state(stagnation_);
  state(least_);
  state.check(0 <= stagnation_);
  stageplan::transfer(state, problem_, now_.genes, size_);
  state(now_.fitness);
  state.check(now_.fitness.size() == size_ && !std::isnan(least_));
  state.check(std::none_of(now_.fitness.begin(), now_.fitness.end(), [](double x) { return std::isnan(x); }));
  stageplan::transfer(state, problem_, current_);
  stageplan::transfer(state, problem_, current_score_);
  stageplan::transfer(state, problem_, best_, 1);
  stageplan::transfer(state, problem_, best_score_);
  const bool no_elites = elites_.empty();
  elites_.transfer(state, problem_);
  state.check(current_.size() <= layers_ && elites_.empty() == no_elites);
  if (window_search_) window_search_->transfer(state);
  if (!state.loading()) return;
  now_.find_fittest();
  if (scoring != scoring_) score_for(scoring);
  make_local_search();
  state.check(!local_search_ || current_.size() == layers_);
}

// Infeasible schemes rank after all others, by their violation; among ties, by the objective: the bits of
// positive numbers have the same order as the numbers.
double Island::fitness(double objective, double violation) const {
  if (violation == 0) return objective;
  const double order = static_cast<double>(std::bit_cast<std::uint64_t>(objective)) * 0x1p-63;
  return kInfeasible * (1 + violation) * (1 + kTolerance * order);
}

// Scores schemes of a population whose best fitness is `least`.
void Island::score(Population& population, size_t from, size_t count, double least) {
  numbers_.resize(4 * count);
  double* const first = numbers_.data();
  const bool priced = problem_.objective == Objective::price;
  const ScoreArrays scores{first, first + count, first + 2 * count, priced ? first + 3 * count : nullptr};
  const double* const objective = priced                                        ? scores.price
                                  : problem_.objective == Objective::throughput ? scores.time
                                                                                : scores.cost;
  if (least < kInfeasible)
    scorer_->score_rivals(&population.genes[from * layers_], count, scores, least);
  else
    scorer_->score(&population.genes[from * layers_], count, scores);
  for (size_t i = 0; i < count; ++i) population.fitness[from + i] = fitness(objective[i], scores.violation[i]);
  evaluations_ += count;
}

void Island::step() {
  ++generation_;
  if (stagnation_ >= kRestartAfter * std::sqrt(std::max(1.0, size_ / 256.0))) return restart();
  breed();
  const size_t best = now_.fittest;
  if (now_.fitness[best] < least_) {
    least_ = now_.fitness[best];
    stagnation_ = 0;
    provision(&now_.genes[best * layers_]);
  } else {
    if (++stagnation_ % polish_period() == 0) polish();
  }
}

// The fittest scheme survives, the others are replaced, in blocks that are scored while they are in the cache.
void Island::breed() {
  next_.genes.resize(now_.genes.size());
  next_.fitness.resize(size_);
  std::copy_n(&now_.genes[now_.fittest * layers_], layers_, next_.genes.data());
  next_.fitness[0] = now_.fitness[now_.fittest];
  const Rng rng(seed_, 2 * index_, generation_);
  for (size_t from = 1; from < size_; from += kBlock) {
    check_stop();
    const size_t count = std::min(kBlock, size_ - from);
    breed_(parents(), rng, from, count, &next_.genes[from * layers_]);
    score(next_, from, count, next_.fitness[0]);
  }
  next_.find_fittest();
  std::swap(now_, next_);
}

Parents Island::parents() const {
  return {now_.genes.data(), now_.fitness.data(), size_, problem_.layers, problem_.labels()};
}

// Generations without improvement between two local searches.
int Island::polish_period() const { return size_ > kSmall ? static_cast<int>(size_ / (kSmall / 8)) : 1; }

// Iterated local search beside the population: changes a random part of its scheme and repairs it by descent;
// keeps changes that are not worse.
void Island::improve() {
  Rng rng(seed_, 2 * index_ + 1, generation_);
  for (int trial = 0; trial < std::max(kTrials, problem_.layers / 8); ++trial) {
    Genes scheme = current_;
    const auto [a, b] =
        limited_ && trial % 2 == 1 ? swap_stages(scheme, rng) : overwrite_run(problem_, scheme, rng);
    Score score;
    evaluations_ += local_search_->descend_near(scheme.data(), score, a, b, 1 + rng.below(3));
    provision(scheme.data());
    if (better(problem_, current_score_, score)) continue;
    current_ = scheme;
    current_score_ = score;
  }
}

// Without a target: local search on the fittest scheme, later on children of the population.
void Island::improve_exactly() {
  Rng rng(seed_, 2 * index_ + 1, generation_);
  current_.resize(layers_);
  if (stagnation_ == kPolishEvery)
    std::copy_n(&now_.genes[now_.fittest * layers_], layers_, current_.data());
  else
    breed_(parents(), rng, rng.next() % size_, 1, current_.data());
  current_score_ = scorer_->score(current_.data());
  evaluations_ += descend(*scorer_, current_, current_score_);
}

// Local search from an elite, or from a child of two elites, at a target near its own.
void Island::explore() {
  Rng rng(seed_, 2 * index_ + 1, generation_);
  const Elites::Elite& parent = elites_.draw(rng);
  current_ = parent.scheme;
  const double target = target_of(problem_, parent.score);
  const double time = rng.below(2) == 0 ? target : nearby_time(target, rng);
  if (rng.below(2) == 0) {
    const int cut = rng.below(problem_.layers);
    const Genes& other = elites_.draw(rng).scheme;
    std::copy(other.begin() + cut, other.end(), current_.begin() + cut);
  }
  evaluations_ += stageplan::polish(problem_, *window_search_, current_, time, best_score_, rng);
  merge(problem_, scorer_->loads(), current_.data(), stages_);
  elites_.add(problem_, provisioner_.best(stages_), current_);
}

void Island::polish() {
  if (window_search_)
    explore();
  else if (local_search_)
    improve();
  else if (stagnation_ % kPolishEvery == 0)
    improve_exactly();
  else
    return;
  Rng rng(seed_, 2 * index_ + 1, ~generation_);
  put(current_, rng.next() % size_);
  if (const double least = now_.fitness[now_.fittest]; least < least_) {
    least_ = least;
    stagnation_ = 0;
  }
  provision(current_.data());
}

void Island::put(const Genes& scheme, size_t position) {
  if (position == now_.fittest) position = (position + 1) % size_;
  std::copy(scheme.begin(), scheme.end(), &now_.genes[position * layers_]);
  score(now_, position, 1, kInfinity);
  now_.find_fittest();
}

void Island::receive(const Genes& scheme) {
  Rng rng(seed_, 2 * index_ + 1, ~generation_);
  put(scheme, rng.below(static_cast<int>(size_)));
}

// Provisions a scheme exactly and keeps it if it is the best.
void Island::provision(const std::int8_t* scheme) {
  const Score score = exact_score(scheme);
  if (aims_at_options(problem_)) elites_.add(problem_, score, Genes(scheme, scheme + layers_));
  if (!best_.empty() && !better(problem_, score, best_score_)) return;
  best_score_ = score;
  best_.assign(scheme, scheme + layers_);
}

void Island::score_for(Scoring scoring) {
  scoring_ = std::move(scoring);
  scorer_ = scoring_.scorer(problem_);
}

Score Island::exact_score(const std::int8_t* scheme) {
  if (problem_.plan_cost) return scorer_->score(scheme);
  merge(problem_, scorer_->loads(), scheme, stages_);
  return provisioner_.best(stages_, problem_.by_options() ? kOptionSteps : Provisioner::kAllSteps);
}

// A new population at a new target; while nothing is feasible also without a target, since the plan of least
// violation may be slower than any target.
void Island::restart() {
  ++restarts_;
  local_search_.reset();
  if (problem_.plan_cost) return fill({});
  if (problem_.by_options()) {
    const OptionAim aim = next_aim();
    score_for({aim.time, aim.weights});
    Genes given = cheapest_at(*scorer_, aim);
    const auto& elites = elites_.all();
    for (size_t i = 0; i < std::min(kGivenElites, elites.size()); ++i)
      given.insert(given.end(), elites[i].scheme.begin(), elites[i].scheme.end());
    return fill(given);
  }
  if (best_score_.violation > 0 && restarts_ % 2 == 1)
    score_for({});
  else if (!elites_.empty())
    score_for({std::min(next_target(), std::max(problem_.goal_time(), best_score_.time)), {}});
  fill({});
}

// An aim near that of an elite, where stages are chosen among options.
OptionAim Island::next_aim() {
  Rng rng(seed_, 2 * index_ + 1, generation_ + 1);
  OptionAim aim = aim_of(*scorer_, elites_.draw(rng).scheme.data());
  aim.group = aim_.group;
  aim.weights.device = aim_.weights.device;
  const double spread = rng.below(4) == 0 ? kFarAims : kNearAims,
               ratio = std::exp(spread * (rng.uniform() - 0.5));
  aim.time *= ratio;
  aim.weights.pass /= ratio * ratio;  // for a plan of the same cost
  if (rng.below(8) == 0) aim.weights.pass = aim_.weights.pass;
  if (rng.below(2) == 0) aim.weights.pass *= std::ldexp(1 + rng.uniform(), -rng.below(2));
  if (rng.below(2) == 0) aim.weights.sync *= std::ldexp(1 + rng.uniform(), -rng.below(2));
  if (limited_)
    for (double& price : aim.weights.device) price *= std::ldexp(1 + rng.uniform(), -rng.below(2));
  return aim;
}

// The target of an elite.
double Island::next_target() {
  Rng rng(seed_, 2 * index_ + 1, generation_ + 1);
  return target_of(problem_, elites_.draw(rng).score);
}

}  // namespace stageplan
