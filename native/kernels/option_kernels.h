// What the kernels that score among options read.
#pragma once

#include "kernels/option_table.h"
#include "kernels/score_arrays.h"

namespace stageplan {

class OptionScorer;

struct OptionKernelInput {
  const Problem& problem;
  const Columns& columns;
  int label_shift;  // type = label >> label_shift

  const OptionScorer& scorer;  // has the tables
  int group;
};

// Scores schemes whose genes are labels; those with a stage that no entry fits, and those without a table, get
// infinite scores.
using OptionKernel = void (*)(const OptionKernelInput&, const std::int8_t* schemes, size_t count,
                              const ScoreArrays&);

}  // namespace stageplan
