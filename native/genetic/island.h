// One population of schemes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "kernels/breeding.h"
#include "kernels/scorer.h"
#include "model/provision.h"
#include "search/elites.h"
#include "search/local_search.h"
#include "search/schemes.h"
#include "search/window_search.h"

namespace stageplan {

// What all islands begin with.
struct InitialPopulation {
  InitialPopulation(const Problem& problem, const Genes& initial);
  Genes schemes;                         // those given, the homogeneous ones, greedy ones
  Elites elites;                         // found at several targets; none where there is no target
  std::shared_ptr<const Scorer> scorer;  // at the best one's, or exact
};

// Schemes are bred at a target, where a stage is one look-up; the best are provisioned exactly, and the
// target follows the throughput of the best plan. Where a target does not tell devices apart from speed
// (the fastest plan with devices to share, stages by type) every scheme is provisioned exactly instead.
class Island {
 public:
  Island(const Problem& problem, size_t size, std::uint64_t seed, std::uint64_t index,
         const InitialPopulation& initial_population);

  // One generation.
  void step();

  // Takes in a scheme of another island.
  void receive(const Genes& scheme);

  size_t size() const { return size_; }
  const Genes& best() const { return best_; }
  const Score& best_score() const { return best_score_; }  // exactly provisioned
  std::uint64_t evaluations() const { return evaluations_; }

 private:
  // Schemes, and how good each is: the less the better.
  struct Population {
    Genes genes;
    std::vector<double> fitness;
    size_t fittest = 0;

    void find_fittest() {
      fittest = static_cast<size_t>(std::min_element(fitness.begin(), fitness.end()) - fitness.begin());
    }
  };

  void fill(const Genes& given);
  void restart();
  void breed();
  void score(Population& population, size_t from, size_t count, double least);
  double fitness(double objective, double violation) const;
  Parents parents() const;
  int polish_period() const;
  void polish();
  void improve();
  void explore();
  void improve_exactly();
  void put(const Genes& scheme, size_t position);
  void provision(const std::int8_t* scheme);
  double next_target();
  double next_stage_time();

  const Problem& problem_;
  const size_t layers_, size_;
  const std::uint64_t seed_, index_;
  std::shared_ptr<const Scorer> scorer_;
  std::optional<LocalSearch> local_search_;    // where each stage has one device
  std::optional<WindowSearch> window_search_;  // at targets
  Breed breed_;
  Provisioner provisioner_;
  std::vector<Stage> stages_;
  std::vector<double> numbers_;  // of one scoring
  Population now_, next_;
  Genes current_;             // of the local search
  Score current_score_;       // at the target
  double least_ = kInfinity;  // fitness of the fittest since the start
  int stagnation_ = 0;        // generations since that improved
  Elites elites_;
  bool limited_;  // whether any type's devices are
  std::uint64_t generation_ = 0, evaluations_ = 0, restarts_ = 0;
  Genes best_;
  Score best_score_;
};

}  // namespace stageplan
