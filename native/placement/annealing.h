// Simulated annealing, for stages of any layers (Merge::type).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "placement/energy.h"
#include "placement/placement.h"
#include "search/search.h"

namespace stageplan {

// One walk through placements, in cooling cycles, each a quarter longer than the previous one.
class Walk {
 public:
  Walk(const Scorer& scorer, std::uint64_t seed, std::uint64_t index, const Genes& start, const Score& score);

  // Tries `trials` moves.
  void step(std::uint64_t trials);

  // Saves or loads what the walk is at between two steps.
  void transfer(State& state);

  // Later cycles may start from this scheme.
  void receive(const Genes& scheme, const Score& score);

  const Genes& best() const { return best_; }
  const Score& best_score() const { return best_score_; }  // exactly provisioned
  std::uint64_t evaluations() const { return evaluations_; }

 private:
  void begin_cycle();
  void load(const Genes& scheme);
  double temperature() const;
  void try_move(Rng& rng);
  void propose(Rng& rng);
  void move_run(int first, int to, Rng& rng);
  void move_group(int first, int from, int to, Rng& rng);
  void swap_back(int first, int from, int to, Rng& rng);
  void keep_best();

  const Scorer& scorer_;
  const Problem& problem_;
  const std::uint64_t seed_, index_;
  Placement placement_;
  Energy energy_;
  Appraisal now_;
  double penalty_ = 1;
  std::uint64_t steps_ = 0, evaluations_ = 0;
  std::uint64_t cycle_ = 0, trial_ = 0, length_ = 0;  // trials of the cycle
  Genes best_;
  Score best_score_;
};

class Annealing : public Search {
 public:
  // `population`: moves that each walk tries per step, for each few layers. Starts from the best of `initial`
  // (its size a multiple of the layers) and of the homogeneous schemes. Throws std::invalid_argument if stages
  // are intervals of layers.
  Annealing(const Problem& problem, int population, std::uint64_t seed, int threads, const Genes& initial);
  void step() override;
  void transfer(State& state) override;

 private:
  void gather();

  const Scorer scorer_;
  const int threads_;
  const std::uint64_t trials_;  // of each walk in a step
  const std::uint64_t first_evaluations_;
  std::uint64_t steps_ = 0;
  std::vector<std::unique_ptr<Walk>> walks_;
};

}  // namespace stageplan
