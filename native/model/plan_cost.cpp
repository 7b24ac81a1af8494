#include "model/plan_cost.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <sstream>

#include "model/option_lists.h"

namespace stageplan {

StageLayout::StageLayout(std::vector<int> words) : words_(std::move(words)) {
  const auto known = [](int word) { return 0 <= word && word < static_cast<int>(kMostLines * kWords); };
  if (words_.empty() || words_.size() % kWords != 0 || lines() > kMostLines ||
      !std::all_of(words_.begin(), words_.end(), known))
    throw std::invalid_argument("the layout of stages is not one of fields of their records");
}

StageLayout::Line* StageLayout::pack(const StageRecord& stage, Line* to) const {
  std::int32_t all[kMostLines * kWords], packed[kMostLines * kWords];
  static_assert(sizeof all == sizeof stage);
  std::memcpy(all, &stage, sizeof all);
  for (size_t i = 0; i < words_.size(); ++i) packed[i] = all[words_[i]];
  std::memcpy(to, packed, lines() * sizeof(Line));
  return to + lines();
}

StageRecord make_record(const Problem& problem, const Stage& stage, int layers, int devices) {
  const StageLoad& load = stage.load;
  return {stage.first,
          stage.last,
          layers,
          stage.type,
          stage.type,
          devices,
          devices,
          1,
          stage_time(problem, load, devices),
          load.compute_time(devices),
          load.transfer_time(devices),
          0,
          load.memory,
          problem.price[stage.type] * devices};
}

StageRecord make_record(const Problem& problem, const Stage& stage, const Option& option, int in_flight) {
  const OptionParts parts = option.devices == 0
                                ? OptionParts()
                                : problem.option_lists().options().parts(stage.first, stage.last, option);
  return {stage.first,
          stage.last,
          stage.last - stage.first + 1,
          stage.type,
          option.column,
          option.devices,
          option.replicas,
          in_flight,
          option.time,
          parts.compute,
          parts.transfer,
          parts.sync,
          option.memory + in_flight * option.flight,
          problem.price[stage.type] * option.devices};
}

PlanRecord make_record(const Problem& problem, const Score& score) {
  return {score.time, 1 / score.time, problem.examples * score.time, score.price, score.cost};
}

const std::vector<double>& PlanBlock::take_costs() {
  const size_t count = plans_.size();
  costs_.resize(count);
  if (count == 0) return costs_;
  if (const size_t done = compute(count, costs_.data()); done < count) fail(done, "raised an error", true);
  for (size_t plan = 0; plan < count; ++plan) check(plan, costs_[plan]);
  if (!repeated_) repeat_first();
  count_ = 0;
  ends_.clear();
  plans_.clear();
  return costs_;
}

// The number of plans before the first one for which the function raises an error.
size_t PlanBlock::compute(size_t plans, double* costs) {
  return static_cast<size_t>(cost_.function(stages_.data(), ends_.data(), plans_.data(),
                                            static_cast<std::int64_t>(plans), cost_.constants, costs));
}

void PlanBlock::repeat_first() {
  double again = 0;
  repeated_ = true;
  if (compute(1, &again) == 1 && std::bit_cast<std::uint64_t>(again) == std::bit_cast<std::uint64_t>(costs_[0]))
    return;
  std::ostringstream text;
  text.precision(17);
  text << "returned " << costs_[0] << " and then " << again
       << " for the same plan; it must depend on its arguments only, and not change them";
  fail(0, text.str(), false);
}

void PlanBlock::check(size_t plan, double cost) const {
  if ((cost >= -PlanCost::kLargest && cost <= PlanCost::kLargest) || cost == kInfinity) return;
  std::ostringstream text;
  text << "returned " << cost
       << "; it must return a number from -1e150 to 1e150, or inf for a plan that is not allowed";
  fail(plan, text.str(), false);
}

void PlanBlock::fail(size_t plan, const std::string& what, bool raised) const {
  const auto lines = static_cast<std::ptrdiff_t>(cost_.layout.lines());
  const auto first = stages_.begin() + (plan == 0 ? 0 : ends_[plan - 1]) * lines;
  throw PlanCostError("plan_cost " + cost_.name + " " + what, raised,
                      {first, stages_.begin() + ends_[plan] * lines}, plans_[plan]);
}

}  // namespace stageplan
