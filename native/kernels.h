// Scores of many schemes at one target.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "merge.h"
#include "provision.h"
#include "stage_table.h"

namespace stageplan {

// Everything that is needed to score schemes of one problem, made once. Immutable.
class Scorer {
 public:
  // With a target, every stage gets the fewest devices that take at most `time`; without, each scheme is
  // provisioned for the goal, at most `steps` devices beyond it.
  explicit Scorer(const Problem& problem, int steps = Provisioner::kAllSteps);
  Scorer(const Problem& problem, double time);

  const Problem& problem() const { return problem_; }
  const StageLoads& loads() const { return loads_; }

  // Scores `count` schemes of `problem.layers` genes each. Genes are trusted.
  void score(const std::int8_t* schemes, size_t count, Score* scores) const;

 private:
  const Problem& problem_;
  StageLoads loads_;
  int steps_ = 0;
  double time_ = 0;
  bool at_target_;
  StageTable table_;
};

// Position of the first gene that is no label of the problem, or `count` where all are.
size_t first_bad_gene(const std::int8_t* genes, size_t count, int labels);

}  // namespace stageplan
