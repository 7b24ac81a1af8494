#include "kernels/plan_cost_scorer.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "model/option_lists.h"

namespace stageplan {
namespace {

constexpr size_t kManyStages = 256;  // of a block, which stays in the cache
constexpr size_t kStep = 8;          // layers that are compared at once
constexpr size_t kMostLayers = 64;   // whose bits fit into a word
constexpr size_t kTableBytes = size_t{1} << 28;

int count_layers(const Problem& problem, const Stage& stage, const std::int8_t* scheme) {
  if (problem.merge == Merge::adjacent) return stage.last - stage.first + 1;
  return static_cast<int>(std::count(scheme + stage.first, scheme + stage.last + 1, stage.label));
}

// Of kStep layers, those that end a stage: a bit of each, the lowest is that of the first. Labels are at least
// 0.
std::uint64_t ends_of_stages(const std::int8_t* scheme) {
  constexpr std::uint64_t kLow = 0x7f7f7f7f7f7f7f7f;
  std::uint64_t labels, next;
  std::memcpy(&labels, scheme, kStep);
  std::memcpy(&next, scheme + 1, kStep);
  const std::uint64_t ends = ((labels ^ next) + kLow) >> 7 & 0x0101010101010101;
  const bool first_is_lowest = std::endian::native == std::endian::little;
  return ends * (first_is_lowest ? 0x0102040810204080 : 0x8040201008040201) >> 56;
}

// The same of up to kMostLayers layers, the one behind which is read as well.
std::uint64_t ends_of_stages(const std::int8_t* scheme, size_t layers) {
  std::uint64_t ends = 0;
  size_t i = 0;
  for (; i + kStep <= layers; i += kStep) ends |= ends_of_stages(scheme + i) << i;
  for (; i < layers; ++i) ends |= std::uint64_t{scheme[i] != scheme[i + 1]} << i;
  return ends;
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
  for (int longer = 0; longer < problem.layers; ++longer) {
    rows_.push_back(stages_.size());
    for (int first = 0; first + longer < problem.layers; ++first)
      for (int type = 0; type < problem.types; ++type) stages_.push_back(make(first, first + longer, type));
  }
}

StageRecord RecordTable::make(int first, int last, int type) const {
  const Stage stage{type, type, first, last, loads_(first, last, type)};
  return make_record(problem_, stage, last - first + 1, entries_.make(first, last, type).devices);
}

void PlanCostScores::add(size_t i, const std::int8_t* scheme, const RecordTable& table) {
  if (!begin_plan(i)) return;
  StageRecord* to = block_.next_stages(problem_.layers);
  const int* const types = problem_.label_types().data();
  const size_t end = problem_.layers - 1;
  size_t first = 0;
  const auto copy = [&](size_t last) {
    table.copy(first, last, types[scheme[last]], *to++);
    first = last + 1;
  };
  for (size_t layer = 0; layer < end; layer += kMostLayers)
    for (std::uint64_t ends = ends_of_stages(scheme + layer, std::min(kMostLayers, end - layer)); ends != 0;
         ends &= ends - 1)
      copy(layer + std::countr_zero(ends));
  copy(end);
  end_plan(i, to);
}

void PlanCostScores::add(size_t i, const std::int8_t* scheme, const std::vector<Stage>& stages,
                         const Provisioner& provisioner) {
  if (!begin_plan(i)) return;
  StageRecord* const records = block_.next_stages(stages.size());
  for (size_t s = 0; s < stages.size(); ++s)
    if (problem_.by_options())
      records[s] =
          make_record(problem_, stages[s], provisioner.chosen()[s],
                      problem_.option_lists().options().in_flight(static_cast<int>(stages.size() - s)));
    else
      records[s] =
          make_record(problem_, stages[s], count_layers(problem_, stages[s], scheme), provisioner.devices()[s]);
  end_plan(i, records + stages.size());
}

// Whether the function sees the plan.
bool PlanCostScores::begin_plan(size_t i) const {
  if (scores_.plan_cost) scores_.plan_cost[i] = kInfinity;
  return scores_.violation[i] == 0;
}

void PlanCostScores::end_plan(size_t i, const StageRecord* end) {
  const Score score{scores_.cost[i], scores_.time[i], scores_.violation[i], scores_.price[i]};
  block_.add(make_record(problem_, score), end);
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
