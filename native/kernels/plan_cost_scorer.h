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
  using Line = StageLayout::Line;

  RecordTable(const Problem& problem, const StageLoads& loads, const StageTable& entries);

  // Writes the stages of a scheme to where they are read; returns their end.
  Line* copy(const std::int8_t* scheme, Line* to) const { return (this->*copy_)(scheme, to); }

 private:
  using Copy = Line* (RecordTable::*)(const std::int8_t* scheme, Line* to) const;

  template <size_t kLines>
  Line* copy_lines(const std::int8_t* scheme, Line* to) const;
  Line* make_all(const std::int8_t* scheme, Line* to) const;
  Line* make(size_t first, size_t last, int type, Line* to) const;

  const Problem& problem_;
  const StageLoads& loads_;
  const StageTable& entries_;
  Copy copy_ = &RecordTable::make_all;
  std::vector<Line> lines_;           // by length, first layer and type; empty if too many: made on demand
  std::vector<std::uint32_t> rows_;   // where those of each length begin, bytes
  std::vector<std::uint32_t> types_;  // from the first type to that of each label, bytes
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
  void end_plan(size_t i, const StageLayout::Line* end);

  const Problem& problem_;
  const ScoreArrays scores_;
  PlanBlock block_;
  std::vector<size_t> schemes_;  // of the plans in the block
};

}  // namespace stageplan
