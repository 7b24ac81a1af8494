// Proof where it is quick, search where it is not.
#pragma once

#include <memory>

#include "exact.h"
#include "genetic.h"

namespace stageplan {

// Proves until a set amount of work is done; then the genetic search goes on from the plans found by then.
class Auto : public Search {
 public:
  Auto(const Problem& problem, int population, std::uint64_t seed, int threads, const Genes& initial);
  void step() override;
  double bound() const override;

 private:
  bool proving() const;
  void take(const Search& search);

  const int population_, threads_;
  const std::uint64_t seed_;
  const Genes initial_;
  std::unique_ptr<Exact> exact_;      // where stages are intervals of layers
  std::unique_ptr<Enumeration> all_;  // where they are not, and schemes are few
  std::unique_ptr<Genetic> genetic_;
};

}  // namespace stageplan
