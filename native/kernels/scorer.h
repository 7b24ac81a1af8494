// Scores of many schemes: at one target by kernels chosen at run time, or with exact provisioning.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "common/state.h"
#include "kernels/option_scorer.h"
#include "kernels/packed_table.h"
#include "kernels/score_arrays.h"
#include "model/merge.h"
#include "model/provision.h"
#include "model/stage_table.h"

namespace stageplan {

// With more types than this, devices may be counted by type modulo this number.
inline constexpr int kBuckets = 16;

class PlanCostScores;
class RecordTable;
class Scorer;

// All that a kernel reads.
struct KernelInput {
  const Scorer& scorer;
  const std::uint32_t* words;
  const ShortStages& short_stages;
  const double* times;
  const double *price, *limit, *limit_weight;
  const std::uint16_t* limit_word;   // limits of the types, clipped to 16 bits
  const std::uint8_t* bucket_limit;  // least limit of the types equal modulo kBuckets
  int layers, types, labels;
  int label_shift;          // type = label >> label_shift
  bool skip_unfit = false;  // whether schemes with a stage that does not fit get infinite scores
};

// Scores schemes; returns false if a gene is not a label.
using Kernel = bool (*)(const KernelInput&, const std::int8_t* schemes, size_t count, const ScoreArrays&);

// Everything needed to score schemes of one problem, made once. Thread-safe.
class Scorer {
 public:
  // With a target, every stage gets the fewest devices that take at most `time`, which is the stage's own or,
  // with Allowed::plan, that of the whole plan; where stages are chosen among options, the option of least
  // weight. Without, each scheme is provisioned for the goal, with at most `steps` devices beyond it.
  explicit Scorer(const Problem& problem, int steps = Provisioner::kAllSteps);
  Scorer(const Problem& problem, double time, Allowed allowed = Allowed::stage, OptionWeights weights = {});
  ~Scorer();
  Scorer(const Scorer&) = delete;
  Scorer& operator=(const Scorer&) = delete;

  const Problem& problem() const { return problem_; }
  const StageLoads& loads() const { return loads_; }

  const StageTable& table() const { return table_; }

  // Scorer among options; null without a target or without options.
  const OptionScorer* by_options() const { return by_options_.get(); }

  // Scores `count` schemes of `problem.layers` genes each; returns false if a gene is not a label.
  bool score(const std::int8_t* schemes, size_t count, const ScoreArrays& scores, int threads = 1) const;

  // The same on one thread, for a search that has a feasible scheme of this objective at the target: schemes
  // that are slow to score and certainly worse may get infinite scores.
  bool score_rivals(const std::int8_t* schemes, size_t count, const ScoreArrays& scores,
                    double objective) const;

  Score score(const std::int8_t* scheme) const;

  // A scheme and its plan cost, apart; 0 where the problem has none.
  std::pair<Score, double> score_plan(const std::int8_t* scheme) const;

  // Whether every scheme provisioned so far got its best devices, `steps` being enough.
  bool complete() const { return complete_; }

  // Saves or loads whether this is so.
  void transfer(State& state);

  // One scheme at the target, from the stage table.
  Score score_by_table(const std::int8_t* scheme) const;

 private:
  bool score_part(const std::int8_t* schemes, size_t count, const ScoreArrays& scores, bool skip_unfit) const;
  bool score_objective(const std::int8_t* schemes, size_t count, const ScoreArrays& scores,
                       bool skip_unfit) const;
  bool score_plan_costs(const std::int8_t* schemes, size_t count, ScoreArrays scores) const;
  void provision(const std::int8_t* schemes, size_t count, const ScoreArrays& scores,
                 PlanCostScores* costs = nullptr) const;
  Score provision(const std::vector<Stage>& stages, Provisioner& provisioner) const;

  const Problem& problem_;
  StageLoads loads_;
  int steps_ = 0;
  double time_ = 0;
  bool at_target_;
  StageTable table_;
  std::unique_ptr<OptionScorer> by_options_;
  std::unique_ptr<RecordTable> records_;  // at a target, with a plan cost
  std::unique_ptr<PackedTable> packed_;
  std::unique_ptr<ShortStages> short_stages_;
  std::vector<std::uint16_t> limit_words_;
  std::vector<std::uint8_t> bucket_limits_;
  Kernel kernel_ = nullptr;
  std::optional<KernelInput> input_;  // of the kernel; points into this object, which is never moved
  mutable std::atomic<bool> complete_{true};
};

// Position of the first gene that is not a label of the problem, or `count` if all are.
size_t first_bad_gene(const std::int8_t* genes, size_t count, int labels);

// Throws std::invalid_argument if one of `count` genes, preceded by `before` others, is not a label.
void check_genes(const Problem& problem, const char* name, const std::int8_t* genes, size_t count,
                 size_t before = 0);

}  // namespace stageplan
