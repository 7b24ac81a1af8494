// The genetic algorithm: islands of schemes that breed by themselves and pass their best on.
#pragma once

#include <memory>
#include <vector>

#include "island.h"
#include "search.h"

namespace stageplan {

class Genetic : public Search {
 public:
  // `population`: how many schemes a generation has, over all islands: `initial` (all of them, its size a
  // multiple of the layers), each homogeneous one, a greedy one, random ones.
  Genetic(const Problem& problem, int population, std::uint64_t seed, int threads, const Genes& initial);

  // One generation.
  void step() override;
  void step(int generations);

 private:
  void migrate();
  void gather();

  const int threads_;
  std::uint64_t generation_ = 0;
  std::vector<std::unique_ptr<Island>> islands_;
};

}  // namespace stageplan
