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
#include "search/option_aims.h"
#include "search/schemes.h"
#include "search/window_search.h"

namespace stageplan {

// What schemes are scored for.
struct Scoring {
  std::optional<double> time;  // of a target; absent: schemes are provisioned exactly
  OptionWeights weights;

  std::shared_ptr<const Scorer> scorer(const Problem& problem) const;
  void transfer(State& state);
  bool operator==(const Scoring&) const = default;
};

// The initial schemes that all islands share.
struct InitialPopulation {
  InitialPopulation(const Problem& problem, const Genes& initial);
  Genes schemes;                         // those given, the homogeneous ones, greedy ones
  Elites elites;                         // found at several targets; empty without a target
  OptionAim aim{};                       // of the best one, where stages are chosen among options
  Scoring scoring;                       // at the target of the best one, or exact
  std::shared_ptr<const Scorer> scorer;  // for that
};

// Schemes evolve at a target, where a stage costs one look-up; the best are provisioned exactly, and the target
// follows the throughput of the best plan. Where a target does not separate devices from speed (the fastest
// plan with shared devices, stages by type, a plan cost) every scheme is provisioned exactly.
class Island {
 public:
  Island(const Problem& problem, size_t size, std::uint64_t seed, std::uint64_t index,
         const InitialPopulation& initial_population);

  // One generation.
  void step();

  // Saves or loads what the island is at between two generations.
  void transfer(State& state);

  // Inserts a scheme of another island.
  void receive(const Genes& scheme);

  size_t size() const { return size_; }
  const Genes& best() const { return best_; }
  const Score& best_score() const { return best_score_; }  // exactly provisioned
  std::uint64_t evaluations() const { return evaluations_; }

 private:
  // Schemes and their fitness: lower is better.
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
  void score_for(Scoring scoring);
  void make_local_search();
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
  Score exact_score(const std::int8_t* scheme);
  double next_target();
  OptionAim next_aim();

  const Problem& problem_;
  const size_t layers_, size_;
  std::uint64_t seed_;
  const std::uint64_t index_;
  Scoring scoring_;
  std::shared_ptr<const Scorer> scorer_;
  std::optional<LocalSearch> local_search_;    // if each stage has one device
  std::optional<WindowSearch> window_search_;  // at targets
  Breed breed_;
  Provisioner provisioner_;
  std::vector<Stage> stages_;
  std::vector<double> numbers_;  // buffer for scores
  Population now_, next_;
  Genes current_;             // of the local search
  Score current_score_;       // at the target
  double least_ = kInfinity;  // best fitness since the start
  int stagnation_ = 0;        // generations since it improved
  Elites elites_;
  const OptionAim aim_;  // where stages are chosen among options
  bool limited_;         // whether devices of any type are limited
  std::uint64_t generation_ = 0, evaluations_ = 0, restarts_ = 0;
  Genes best_;
  Score best_score_;
};

}  // namespace stageplan
