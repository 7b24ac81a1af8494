#include "kernels/plan_cost_scorer.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>

#include "model/option_lists.h"

namespace stageplan {
namespace {

constexpr size_t kManyLines = 768;  // of a block, which stays in the cache
constexpr size_t kStep = 8;         // layers that are compared at once
constexpr size_t kMostLayers = 64;  // whose bits fit into a word
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

// Calls `take` with the first and the last layer of each stage.
template <class Take>
void for_stages(const std::int8_t* scheme, size_t layers, const Take& take) {
  const size_t end = layers - 1;
  size_t first = 0;
  for (size_t layer = 0; layer < end; layer += kMostLayers)
    for (std::uint64_t ends = ends_of_stages(scheme + layer, std::min(kMostLayers, end - layer)); ends != 0;
         ends &= ends - 1) {
      const size_t last = layer + std::countr_zero(ends);
      take(first, last);
      first = last + 1;
    }
  take(first, end);
}

double* objective_array(const Problem& problem, const ScoreArrays& scores) {
  if (problem.objective == Objective::cost) return scores.cost;
  return problem.objective == Objective::throughput ? scores.time : scores.price;
}

}  // namespace

RecordTable::RecordTable(const Problem& problem, const StageLoads& loads, const StageTable& entries)
    : problem_(problem), loads_(loads), entries_(entries) {
  static constexpr Copy kCopies[] = {&RecordTable::copy_lines<1>, &RecordTable::copy_lines<2>,
                                     &RecordTable::copy_lines<3>, &RecordTable::copy_lines<4>,
                                     &RecordTable::copy_lines<5>};
  static_assert(std::size(kCopies) == StageLayout::kMostLines);
  const size_t layers = problem.layers, lines = problem.plan_cost->layout.lines();
  const size_t count = layers * (layers + 1) / 2 * problem.types * lines;
  if (count * sizeof(Line) > kTableBytes) return;
  copy_ = kCopies[lines - 1];
  lines_.resize(count);
  const auto bytes = [](size_t lines) { return static_cast<std::uint32_t>(lines * sizeof(Line)); };
  for (const int type : problem.label_types()) types_.push_back(bytes(type * lines));
  Line* to = lines_.data();
  for (size_t longer = 0; longer < layers; ++longer) {
    rows_.push_back(bytes(static_cast<size_t>(to - lines_.data())));
    for (size_t first = 0; first + longer < layers; ++first)
      for (int type = 0; type < problem.types; ++type) to = make(first, first + longer, type, to);
  }
}

RecordTable::Line* RecordTable::make(size_t first, size_t last, int type, Line* to) const {
  const int from = static_cast<int>(first), until = static_cast<int>(last);
  const Stage stage{type, type, from, until, loads_(from, until, type)};
  const int devices = entries_.make(from, until, type).devices;
  return problem_.plan_cost->layout.pack(make_record(problem_, stage, until - from + 1, devices), to);
}

RecordTable::Line* RecordTable::make_all(const std::int8_t* scheme, Line* to) const {
  for_stages(scheme, problem_.layers,
             [&](size_t first, size_t last) { to = make(first, last, problem_.type_of(scheme[last]), to); });
  return to;
}

template <size_t kLines>
RecordTable::Line* RecordTable::copy_lines(const std::int8_t* scheme, Line* to) const {
  const auto* const lines = reinterpret_cast<const std::byte*>(lines_.data());
  const std::uint32_t *const rows = rows_.data(), *const types = types_.data();
  const size_t layer = problem_.types * kLines * sizeof(Line);
  for_stages(scheme, problem_.layers, [&](size_t first, size_t last) {
    const std::byte* const stage = lines + (rows[last - first] + first * layer + types[scheme[last]]);
    std::memcpy(to, stage, kLines * sizeof(Line));
    to += kLines;
  });
  return to;
}

void PlanCostScores::add(size_t i, const std::int8_t* scheme, const RecordTable& table) {
  if (!begin_plan(i)) return;
  end_plan(i, table.copy(scheme, block_.next_stages(problem_.layers)));
}

void PlanCostScores::add(size_t i, const std::int8_t* scheme, const std::vector<Stage>& stages,
                         const Provisioner& provisioner) {
  if (!begin_plan(i)) return;
  StageLayout::Line* to = block_.next_stages(stages.size());
  const auto record = [&](size_t s) {
    if (!problem_.by_options())
      return make_record(problem_, stages[s], count_layers(problem_, stages[s], scheme),
                         provisioner.devices()[s]);
    return make_record(problem_, stages[s], provisioner.chosen()[s],
                       problem_.option_lists().options().in_flight(static_cast<int>(stages.size() - s)));
  };
  for (size_t s = 0; s < stages.size(); ++s) to = problem_.plan_cost->layout.pack(record(s), to);
  end_plan(i, to);
}

// Whether the function sees the plan.
bool PlanCostScores::begin_plan(size_t i) const {
  if (scores_.plan_cost) scores_.plan_cost[i] = kInfinity;
  return scores_.violation[i] == 0;
}

void PlanCostScores::end_plan(size_t i, const StageLayout::Line* end) {
  const Score score{scores_.cost[i], scores_.time[i], scores_.violation[i], scores_.price[i]};
  block_.add(make_record(problem_, score), end);
  schemes_.push_back(i);
  if (block_.lines() >= kManyLines) finish();
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
