// Reinforcement learning: a policy chooses labels layer by layer and learns from the rewards of the resulting
// plans.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "policy/episodes.h"
#include "search/elites.h"
#include "search/search.h"

namespace stageplan {

// A policy and the state of its training.
struct Learned {
  PolicyShape shape;
  std::vector<float> weights;
  Adam<float> adam;
  double baseline = std::numeric_limits<double>::quiet_NaN();  // moving average of rewards; NaN: none yet
  std::uint64_t generations = 0;

  // An untrained policy for a number of types and labels.
  Learned(Cell cell, int types, int labels, std::uint64_t seed);

  // Prepares training on another problem: resets the baseline and raises exploration.
  void reset_for_new_problem();

  void transfer(State& state);
};

class Reinforce : public Search {
 public:
  // Continues from `learned`. A generation is `population` episodes and, unless `alone`, local searches from
  // the best plans. Starts with `initial` (its size a multiple of the layers) and, unless `alone`, with the
  // plans on one type.
  Reinforce(const Problem& problem, Learned learned, int population, std::uint64_t seed, int threads,
            const Genes& initial, bool alone);

  // One generation.
  void step() override;
  void transfer(State& state) override;

  const Learned& learned() const { return learned_; }
  const Elites& elites() const { return elites_; }

 private:
  void consider(const Genes& scheme);
  void play();
  int pick(int episode, int layer, const float* probabilities, const Rng& rng) const;
  void score();
  void learn();
  void weigh();
  void polish();
  Genes improved(int search, std::uint64_t& looked_at) const;

  const Features features_;
  Learned learned_;
  const std::uint64_t seed_;
  const int threads_, first_drawn_, episodes_;
  const bool alone_;
  std::vector<std::unique_ptr<Episodes>> groups_;
  std::vector<std::vector<float>> gradients_;  // of each group
  std::vector<const Genes*> replayed_;         // schemes replayed by the episodes after the decoded one
  std::vector<Score> scores_;                  // of each episode
  std::vector<double> weights_;                // in the gradient
  Elites elites_;
};

}  // namespace stageplan
