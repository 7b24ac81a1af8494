// The genetic algorithm over schemes.
#pragma once

#include "search.h"

namespace stageplan {

class Genetic : public Search {
 public:
  // `population`: how many schemes a generation has: `initial` (its size a multiple of the layers), each
  // homogeneous one, a greedy one, random ones.
  Genetic(const Problem& problem, int population, std::uint64_t seed, const Genes& initial);

  // One generation.
  void step() override;
  void step(int generations);

 private:
  void start(const Genes& initial);
  void fill_randomly(Genes& schemes);
  void restart();
  void breed();
  void keep_elites();
  void make_child(std::int8_t* child, const Genes& parents, Rng& rng) const;
  size_t tournament(Rng& rng) const;
  void mutate(std::int8_t* scheme, Rng& rng) const;
  void shift_boundary(std::int8_t* scheme, Rng& rng) const;
  void polish();

  // Devices beyond the goal that a scheme's score looks at; the final plan looks at all.
  static constexpr int kSteps = 256;

  const size_t population_;
  const std::uint64_t seed_;
  std::uint64_t generation_ = 0;
  int stagnation_ = 0;  // generations since the population's own best improved
  Score population_best_;
  Genes schemes_, next_;
  std::vector<Score> scores_, next_scores_;
};

}  // namespace stageplan
