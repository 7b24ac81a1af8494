#include "search/search.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "common/stop.h"
#include "model/placement_bound.h"

namespace stageplan {
namespace {

constexpr size_t kBatch = 1024;              // schemes a step of the simple searches
constexpr size_t kScheduledGenes = 1 << 12;  // a step of the random search with a schedule
constexpr int kFewSteps = 64;                // devices beyond the goal's, for a quick plan

// The options of stages under a schedule depend on each other: the longer a scheme, the longer they take.
size_t random_schemes(const Problem& problem) {
  if (!problem.by_options() || problem.columns->schedule == Schedule::none) return kBatch;
  return std::clamp<size_t>(kScheduledGenes / problem.layers, 1, kBatch);
}

// Lower bounds over the layers, each on its best type.
struct LeastWork {
  double price = 0;    // $/hour times seconds
  double seconds = 0;  // of devices
  double time = 0;     // of the slowest layer, on the maximum number of devices
  double device = 0;   // $/hour of one device, for the layer whose cheapest device is the most expensive

  LeastWork() = default;
  explicit LeastWork(const Problem& problem) {
    for (int l = 0; l < problem.layers; ++l) add(problem, l);
  }

  void add(const Problem& problem, int layer) {
    double least_price = kInfinity, least_seconds = kInfinity, least_time = kInfinity, least_device = kInfinity;
    for (int t = 0; t < problem.types; ++t) {
      StageLoad load;
      add_layer(problem, load, layer, t);
      const double max_devices = std::min<double>(problem.max_devices_per_stage, problem.limit[t]);
      if (load.unsupported || max_devices < 1) continue;
      least_price = std::min(least_price, problem.price[t] * load.compute_time(1));
      least_seconds = std::min(least_seconds, load.compute_time(1));
      least_time = std::min(least_time, load.compute_time(static_cast<int>(max_devices)));
      least_device = std::min(least_device, problem.price[t]);
    }
    price += least_price;
    seconds += least_seconds;
    time = std::max(time, least_time);
    device = std::max(device, least_device);
  }
};

// k devices take at least 1/k of the time of one; limits include their tolerance.
double least_time(const Problem& problem, const LeastWork& work) {
  double devices = 0;
  for (double limit : problem.limit) devices += limit;
  const double spare = problem.max_price * (1 + kTolerance) - problem.fixed_price;
  return std::max({work.time, work.seconds / devices, spare > 0 ? work.price / spare : 0.0});
}

// Lower bound of the devices' $/hour: at least one device, and the work done within the goal's stage time.
double least_rent(const Problem& problem, const LeastWork& work) {
  const double time = problem.goal_time() * (1 + kTolerance);
  return time < kInfinity ? std::max(work.device, work.price / time) : work.device;
}

// Where stages are chosen among options; no bound if these are listed.
LeastWork least_work_by_options(const Problem& problem) {
  const Columns& columns = *problem.columns;
  LeastWork work;
  if (!columns.listed.empty()) return work;
  for (size_t l = 0; l < static_cast<size_t>(problem.layers); ++l) {
    double least_price = kInfinity, least_time = kInfinity, least_device = kInfinity;
    for (size_t c = 0, i = l * columns.count(); c < columns.type.size(); ++c, ++i) {
      if (columns.compute[i] == kInfinity) continue;
      const double replica = problem.price[columns.type[c]] * columns.degree[c];
      least_price = std::min(least_price, replica * columns.compute[i]);
      least_time = std::min(least_time, columns.compute[i] * (1 - columns.compute_parallel[i]));
      least_device = std::min(least_device, replica);
    }
    work.price += least_price;
    work.time = std::max(work.time, least_time);
    work.device = std::max(work.device, least_device);
  }
  return work;
}

Score least_score(const Problem& problem) {
  const LeastWork work = problem.by_options() ? least_work_by_options(problem) : LeastWork(problem);
  Score least;
  least.time = least_time(problem, work);
  least.cost = problem.cost_scale() * (work.price + least.time * problem.fixed_price);
  least.price = problem.fixed_price + least_rent(problem, work);
  return least;
}

}  // namespace

double Search::bound() const {
  if (problem_.plan_cost) return -kInfinity;
  if (problem_.merge == Merge::type) return objective_of(problem_, placement_bound(problem_));
  return objective_of(problem_, least_score(problem_)) * (1 - kTolerance);  // its sums round differently
}

double Search::least() const {
  if (best_.empty() || best_score_.violation > 0) return kInfinity;
  return objective_of(problem_, best_score_);
}

void Search::keep(const std::int8_t* scheme, const Score& score) {
  if (!best_.empty() && !better(problem_, score, best_score_)) return;
  best_score_ = score;
  best_.assign(scheme, scheme + layers_);
}

std::string Search::state() {
  State state;
  transfer(state);
  return state.take();
}

void Search::restore(std::string_view bytes) {
  State state(bytes);
  transfer(state);
  state.finish();
}

void Search::transfer(State& state) {
  state(evaluations_);
  state(done_);
  stageplan::transfer(state, problem_, best_);
  state.check(best_.size() <= layers_);  // none before the first step of some searches
  stageplan::transfer(state, problem_, best_score_);
}

void Search::ensure_best() {
  if (!best_.empty()) return;
  const Scorer scorer(problem_, kFewSteps);
  for (int label = 0; label < problem_.labels(); ++label) {
    const Genes scheme(layers_, static_cast<std::int8_t>(label));
    keep(scheme.data(), scorer.score(scheme.data()));
    ++evaluations_;
  }
}

// If stopped, the schemes scored so far count.
void ExactSearch::score(const Genes& schemes) {
  const size_t count = schemes.size() / layers_;
  std::vector<double> numbers(4 * count, kInfinity);
  double* const first = numbers.data();
  const ScoreArrays scores{first, first + count, first + 2 * count, first + 3 * count};
  const auto keep_scored = [&] {
    for (size_t i = 0; i < count; ++i) {
      if (scores.violation[i] == kInfinity) continue;
      keep(&schemes[i * layers_], {scores.cost[i], scores.time[i], scores.violation[i], scores.price[i]});
      ++evaluations_;
    }
  };
  try {
    scorer_.score(schemes.data(), count, scores, threads_);
  } catch (const Stopped&) {
    keep_scored();
    throw;
  }
  keep_scored();
}

void RandomSearch::step() {
  const size_t count = random_schemes(problem_);
  Genes schemes(count * layers_);
  Rng rng(seed_, 0, steps_++);
  for (size_t i = 0; i < count; ++i) random_scheme(problem_, rng, &schemes[i * layers_]);
  score(schemes);
}

void RandomSearch::transfer(State& state) {
  Search::transfer(state);
  state(steps_);
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
  const Genes from = scheme_;
  do {
    schemes.insert(schemes.end(), scheme_.begin(), scheme_.end());
    done_ = !next();
  } while (!done_ && schemes.size() < kBatch * layers_);
  try {
    score(schemes);
  } catch (const Stopped&) {
    scheme_ = from;
    done_ = false;
    throw;
  }
}

void Enumeration::transfer(State& state) {
  Search::transfer(state);
  stageplan::transfer(state, problem_, scheme_, 1);
  scorer_.transfer(state);
}

void GreedySearch::step() {
  for (int label = 0; label < problem_.labels(); ++label)
    score(Genes(layers_, static_cast<std::int8_t>(label)));
  score(greedy_scheme(problem_, scorer_));
  Genes scheme = best();
  Score found = best_score();
  try {
    evaluations_ += descend(scorer_, scheme, found);
  } catch (const Stopped&) {
    keep(scheme.data(), found);
    throw;
  }
  keep(scheme.data(), found);
  done_ = true;
}

}  // namespace stageplan
