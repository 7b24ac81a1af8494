#include "genetic.h"

#include <algorithm>

#include "threads.h"

namespace stageplan {
namespace {

// Genes of an island: with the buffers of two generations they stay in the cache of a core.
constexpr size_t kIslandGenes = size_t{1} << 18;
// Tables of all islands together: above this they keep the one that they begin with in common, and search
// no windows.
constexpr size_t kTableBytes = size_t{1} << 29;
constexpr int kMigrateEvery = 16;         // generations
constexpr size_t kThreadGenes = 1 << 17;  // genes a generation from which threads are worth their start

}  // namespace

Genetic::Genetic(const Problem& problem, int population, std::uint64_t seed, int threads, const Genes& initial)
    : Search(problem), threads_(threads) {
  const size_t size = std::max<size_t>(population, initial.size() / layers_);
  const size_t count = (size * layers_ + kIslandGenes - 1) / kIslandGenes;
  Start start(problem, initial);
  if ((StageTable::bytes(problem) + WindowSearch::bytes(problem)) * count > kTableBytes) start.elites = {};
  for (size_t i = 0; i < count; ++i) {
    const size_t from = size * i / count, to = size * (i + 1) / count;
    islands_.push_back(std::make_unique<Island>(problem, std::max<size_t>(2, to - from), seed, i, start));
  }
  gather();
}

void Genetic::step(int generations) {
  for (int i = 0; i < generations; ++i) step();
}

void Genetic::step() {
  size_t genes = 0;
  for (const auto& island : islands_) genes += island->size() * layers_;
  parallel_for(islands_.size(), genes >= kThreadGenes ? threads_ : 1, [&](size_t i) { islands_[i]->step(); });
  if (++generation_ % kMigrateEvery == 0) migrate();
  gather();
}

// In a ring, each island's best to the next one.
void Genetic::migrate() {
  if (islands_.size() < 2) return;
  std::vector<Genes> bests;
  for (const auto& island : islands_) bests.push_back(island->best());
  for (size_t i = 0; i < islands_.size(); ++i) islands_[(i + 1) % islands_.size()]->receive(bests[i]);
}

void Genetic::gather() {
  evaluations_ = 0;
  for (const auto& island : islands_) {
    evaluations_ += island->evaluations();
    keep(island->best().data(), island->best_score());
  }
}

}  // namespace stageplan
