#include "kernels/plan_cost_scorer.h"

#include <algorithm>

#include "model/option_lists.h"

namespace stageplan {
namespace {

constexpr size_t kManyStages = 1024;  // of a block, which stays in the cache
constexpr size_t kTableBytes = size_t{1} << 28;

int count_layers(const Problem& problem, const Stage& stage, const std::int8_t* scheme) {
  if (problem.merge == Merge::adjacent) return stage.last - stage.first + 1;
  return static_cast<int>(std::count(scheme + stage.first, scheme + stage.last + 1, stage.label));
}

double* objective_array(const Problem& problem, const ScoreArrays& scores) {
  if (problem.objective == Objective::cost) return scores.cost;
  return problem.objective == Objective::throughput ? scores.time : scores.price;
}

}  // namespace

RecordTable::RecordTable(const Problem& problem, const StageLoads& loads, const StageTable& entries)
    : problem_(problem), loads_(loads), entries_(entries) {
  const size_t layers = problem.layers, count = layers * (layers + 1) / 2 * problem.types;
  if (count * sizeof(StageRecord) > kTableBytes) return;
  stages_.reserve(count);
  for (int first = 0; first < problem.layers; ++first) {
    rows_.push_back(stages_.size());
    for (int last = first; last < problem.layers; ++last)
      for (int type = 0; type < problem.types; ++type) stages_.push_back(make(first, last, type));
  }
}

StageRecord RecordTable::make(int first, int last, int type) const {
  const Stage stage{type, type, first, last, loads_(first, last, type)};
  return make_record(problem_, stage, last - first + 1, entries_.make(first, last, type).devices);
}

void PlanCostScores::add(size_t i, const std::int8_t* scheme, const RecordTable& table) {
  if (!begin_plan(i)) return;
  StageRecord buffer;
  for (int first = 0, last; first < problem_.layers; first = last + 1) {
    for (last = first; last + 1 < problem_.layers && scheme[last + 1] == scheme[first];) ++last;
    block_.add(table.at(first, last, problem_.type_of(scheme[first]), buffer));
  }
  end_plan(i);
}

void PlanCostScores::add(size_t i, const std::int8_t* scheme, const std::vector<Stage>& stages,
                         const Provisioner& provisioner) {
  if (!begin_plan(i)) return;
  for (size_t s = 0; s < stages.size(); ++s)
    if (problem_.by_options())
      block_.add(make_record(problem_, stages[s], provisioner.chosen()[s],
                             problem_.option_lists().options().in_flight(static_cast<int>(stages.size() - s))));
    else
      block_.add(make_record(problem_, stages[s], count_layers(problem_, stages[s], scheme),
                             provisioner.devices()[s]));
  end_plan(i);
}

// Whether the function sees the plan.
bool PlanCostScores::begin_plan(size_t i) const {
  if (scores_.plan_cost) scores_.plan_cost[i] = kInfinity;
  return scores_.violation[i] == 0;
}

void PlanCostScores::end_plan(size_t i) {
  block_.end_plan(
      make_record(problem_, {scores_.cost[i], scores_.time[i], scores_.violation[i], scores_.price[i]}));
  schemes_.push_back(i);
  if (block_.stages() >= kManyStages) finish();
}

void PlanCostScores::finish() {
  const std::vector<double>& costs = block_.take_costs();
  double* const ranked = scores_.plan_cost ? scores_.plan_cost : objective_array(problem_, scores_);
  for (size_t plan = 0; plan < schemes_.size(); ++plan) {
    const size_t i = schemes_[plan];
    if (costs[plan] == kInfinity)
      scores_.violation[i] += 1;
    else
      ranked[i] = costs[plan];
  }
  schemes_.clear();
}

}  // namespace stageplan
