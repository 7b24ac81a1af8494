// The genetic algorithm: islands of schemes that evolve separately and exchange their best schemes.
#pragma once

#include <memory>
#include <vector>

#include "genetic/island.h"
#include "search/search.h"

namespace stageplan {

class Genetic : public Search {
 public:
  // `population`: number of schemes of a generation over all islands: `initial` (all of them; its size is a
  // multiple of the layers), each homogeneous scheme, a greedy one, random ones.
  Genetic(const Problem& problem, int population, std::uint64_t seed, int threads, const Genes& initial);

  // One generation.
  void step() override;
  void transfer(State& state) override;
  void step(int generations);

  // Inserts a scheme of another search, provisioned exactly.
  void receive(const Genes& scheme) { islands_.front()->receive(scheme); }

 private:
  // The results of an island after a generation.
  struct Snapshot {
    Genes best;
    Score score;
    std::uint64_t evaluations;
  };

  void run_ahead();
  void breed();
  void migrate();
  void gather(size_t place);

  const int threads_;
  size_t genes_ = 0;  // of a generation
  size_t ahead_ = 1;  // generations that an island runs at a time; a divisor of the migration period
  std::uint64_t generation_ = 0;
  std::vector<std::unique_ptr<Island>> islands_;
  std::vector<std::vector<Snapshot>> snapshots_;  // of each island, from its last run
};

}  // namespace stageplan
