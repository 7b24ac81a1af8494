// Proof where it is quick, search where it is not.
#pragma once

#include <memory>

#include "search/search.h"

namespace stageplan {

// Proves until a set amount of work is done, or that nothing fits; then another search goes on from the plans
// found by then: the genetic one or, where stages may hold layers from anywhere (Merge::type), annealing. There
// only a few schemes can be proven, one by one; of more the best one whose stages are neighbours is where
// annealing begins.
class Auto : public ExactSearch {
 public:
  Auto(const Problem& problem, int population, std::uint64_t seed, int threads, const Genes& initial);
  void step() override;
  double bound() const override;
  std::uint64_t work() const override;

 private:
  void prove();
  void search();
  bool proving() const;
  bool proven(double bound) const;

  const int population_, threads_;
  const std::uint64_t seed_;
  Genes first_;                          // schemes to begin with
  std::unique_ptr<Enumeration> all_;     // where stages are not intervals of layers, and schemes are few
  std::unique_ptr<Problem> contiguous_;  // where they are not and schemes are many: the same, but they are
  std::unique_ptr<Search> exact_;        // of this one or of the problem itself
  std::unique_ptr<Search> search_;
  double bound_ = 0;  // where schemes are many
  int nearest_ = 0;   // generations since it was proven that no plan keeps the limits
};

}  // namespace stageplan
