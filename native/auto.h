// Proves the optimum where that is quick, searches where it is not.
#pragma once

#include <memory>

#include "search/search.h"

namespace stageplan {

// Runs the proof up to a fixed amount of work or until it shows infeasibility; then another search continues
// from the plans found so far: the genetic one or, with Merge::type (stages of any layers), annealing. With
// Merge::type only few schemes can be proven, by enumeration; if there are more, annealing starts from the best
// contiguous scheme.
class Auto : public ExactSearch {
 public:
  Auto(const Problem& problem, int population, std::uint64_t seed, int threads, const Genes& initial);
  void step() override;
  void transfer(State& state) override;
  double bound() const override;
  std::uint64_t work() const override;

 private:
  void prove();
  void search();
  void make_search();
  bool proving() const;
  bool proven(double bound) const;

  const int population_, threads_;
  const std::uint64_t seed_;
  Genes first_;                          // initial schemes
  std::unique_ptr<Enumeration> all_;     // with Merge::type, if schemes are few
  std::unique_ptr<Problem> contiguous_;  // with Merge::type, if they are many: adjacent stages instead
  std::unique_ptr<Search> exact_;        // of `contiguous_` or of the problem itself
  std::unique_ptr<Search> search_;
  double bound_ = 0;  // with Merge::type, if schemes are many
  int nearest_ = 0;   // generations since infeasibility was proven
};

}  // namespace stageplan
