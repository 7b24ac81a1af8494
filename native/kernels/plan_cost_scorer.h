// Plan costs of scored schemes, by the caller's function (model/plan_cost.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/score_arrays.h"
#include "model/plan_cost.h"
#include "model/provision.h"
#include "model/stage_table.h"

namespace stageplan {

// All stages of a problem at a target, as the function reads them.
class RecordTable {
 public:
  RecordTable(const Problem& problem, const StageLoads& loads, const StageTable& entries);

  // Writes a stage to where it is read.
  void copy(size_t first, size_t last, int type, StageRecord& to) const {
    if (stages_.empty())
      to = make(static_cast<int>(first), static_cast<int>(last), type);
    else
      to = stages_[rows_[last - first] + first * problem_.types + type];
  }

 private:
  StageRecord make(int first, int last, int type) const;

  const Problem& problem_;
  const StageLoads& loads_;
  const StageTable& entries_;
  std::vector<size_t> rows_;         // of each length: the many short ones share pages of memory
  std::vector<StageRecord> stages_;  // empty if too many: they are made on demand
};

// Computes the plan costs of schemes whose scores, with prices, are known. They are written to the array of
// plan costs; without one they take the place of the objective, so that searches rank by them. Schemes that
// break a limit get none: infinity in the array. An infinite plan cost adds 1 to the violation.
class PlanCostScores {
 public:
  PlanCostScores(const Problem& problem, const ScoreArrays& scores)
      : problem_(problem), scores_(scores), block_(*problem.plan_cost) {}

  // A scheme at the target of a table.
  void add(size_t i, const std::int8_t* scheme, const RecordTable& table);

  // A provisioned scheme.
  void add(size_t i, const std::int8_t* scheme, const std::vector<Stage>& stages,
           const Provisioner& provisioner);

  // Computes what is missing.
  void finish();

 private:
  bool begin_plan(size_t i) const;
  void end_plan(size_t i, const StageRecord* end);

  const Problem& problem_;
  const ScoreArrays scores_;
  PlanBlock block_;
  std::vector<size_t> schemes_;  // of the plans in the block
};

}  // namespace stageplan
