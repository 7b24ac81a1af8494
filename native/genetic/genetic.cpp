#include "genetic/genetic.h"

#include <algorithm>

#include "common/stop.h"
#include "common/threads.h"

namespace stageplan {
namespace {

// Genes of an island: the buffers of two generations fit the cache of a core.
constexpr size_t kIslandGenes = size_t{1} << 18;
// Memory of the tables of all islands together: above this the islands share the initial one and search no
// windows.
constexpr size_t kTableBytes = size_t{1} << 29;
constexpr size_t kMigrateEvery = 16;  // generations
// If the islands do not fit the cache together, each runs several generations in turn: as many as make about
// this many genes over all islands, which takes less than a second.
constexpr size_t kAheadGenes = size_t{1} << 30;
constexpr size_t kThreadGenes = 1 << 17;  // genes of a run from which threads pay off

}  // namespace

Genetic::Genetic(const Problem& problem, int population, std::uint64_t seed, int threads, const Genes& initial)
    : Search(problem), threads_(threads) {
  const size_t size = std::max<size_t>(population, initial.size() / layers_);
  const size_t count = (size * layers_ + kIslandGenes - 1) / kIslandGenes;
  InitialPopulation initial_population(problem, initial);
  if (!problem.by_options() &&
      (StageTable::bytes(problem) + WindowSearch::bytes(problem)) * count > kTableBytes)
    initial_population.elites = {};
  for (size_t i = 0; i < count; ++i) {
    const size_t from = size * i / count, to = size * (i + 1) / count;
    islands_.push_back(
        std::make_unique<Island>(problem, std::max<size_t>(2, to - from), seed, i, initial_population));
  }
  for (const auto& island : islands_)
    snapshots_.push_back({{island->best(), island->best_score(), island->evaluations()}});
  for (const auto& island : islands_) genes_ += island->size() * layers_;
  while (count > 1 && ahead_ < kMigrateEvery && genes_ * ahead_ < kAheadGenes) ahead_ *= 2;
  gather(0);
}

void Genetic::step(int generations) {
  for (int i = 0; i < generations; ++i) step();
}

void Genetic::transfer(State& state) {
  Search::transfer(state);
  state.check(!best().empty());
  state(generation_);
  for (const auto& island : islands_) island->transfer(state);
  for (auto& snapshots : snapshots_) {
    state.size(snapshots);
    state.check(snapshots.size() == (generation_ == 0 ? 1 : ahead_));
    for (Snapshot& snapshot : snapshots) {
      stageplan::transfer(state, problem_, snapshot.best, 1);
      stageplan::transfer(state, problem_, snapshot.score);
      state(snapshot.evaluations);
    }
  }
}

void Genetic::step() {
  if (generation_ > 0 && generation_ % kMigrateEvery == 0) migrate();
  const size_t place = generation_ % ahead_;
  if (place == 0) run_ahead();
  ++generation_;
  gather(place);
}

// If stopped, the results of the islands so far count.
void Genetic::run_ahead() {
  try {
    breed();
  } catch (const Stopped&) {
    for (const auto& island : islands_) keep(island->best().data(), island->best_score());
    throw;
  }
}

void Genetic::breed() {
  parallel_for(islands_.size(), genes_ * ahead_ >= kThreadGenes ? threads_ : 1, [&](size_t i) {
    Island& island = *islands_[i];
    snapshots_[i].clear();
    for (size_t generation = 0; generation < ahead_; ++generation) {
      island.step();
      snapshots_[i].push_back({island.best(), island.best_score(), island.evaluations()});
    }
  });
}

// In a ring: the best scheme of each island goes to the next one.
void Genetic::migrate() {
  if (islands_.size() < 2) return;
  std::vector<Genes> bests;
  for (const auto& island : islands_) bests.push_back(island->best());
  for (size_t i = 0; i < islands_.size(); ++i) islands_[(i + 1) % islands_.size()]->receive(bests[i]);
}

// Collects the results of all islands in generation number `place` of the last run.
void Genetic::gather(size_t place) {
  evaluations_ = 0;
  for (const auto& snapshots : snapshots_) {
    const Snapshot& snapshot = snapshots[place];
    evaluations_ += snapshot.evaluations;
    keep(snapshot.best.data(), snapshot.score);
  }
}

}  // namespace stageplan
