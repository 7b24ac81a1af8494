#include "model/listed_provision.h"

#include <algorithm>

#include "common/stop.h"
#include "model/devices_bound.h"
#include "model/option_lists.h"
#include "model/provision.h"

namespace stageplan {

ListedProvisioner::ListedProvisioner(const Problem& problem)
    : problem_(problem),
      options_(problem.option_lists().options()),
      listed_(*options_.listed_stages()),
      counts_(problem.types),
      rented_(problem.types) {}

bool ListedProvisioner::serves(const Problem& problem) {
  const Options& options = problem.option_lists().options();
  return options.listed_stages() != nullptr && options.groups() == std::vector{OptionGroup()};
}

bool ListedProvisioner::begin(const std::vector<Stage>& stages) {
  stages_.clear();
  fastest_ = 0;
  for (const Stage& stage : stages) {
    const ListedStages::Range range = listed_.of(stage.first, stage.last, stage.type);
    const std::uint32_t fastest = listed_.fastest(range, stage.type);
    if (fastest == range.end) return false;
    fastest_ = std::max(fastest_, listed_.seconds(fastest));
    stages_.push_back({stage.type, range, range.begin, fastest, {}});
    if (listed_.work_grows()) stages_.back().bounds = listed_.bounds(stage.first, stage.last, stage.type);
  }
  violation_ = excess(static_cast<double>(stages.size()), problem_.columns->max_stages);
  return true;
}

// The fewest devices with which each stage takes at most `time`, or its fastest option.
void ListedProvisioner::reach(const std::vector<Stage>& stages, double time) {
  std::fill(counts_.begin(), counts_.end(), 0);
  for (size_t s = 0; s < stages_.size(); ++s) {
    const Stage& stage = stages[s];
    Sized& sized = stages_[s];
    sized.at =
        listed_.reach(stage.first, stage.last, stage.type, time * (1 + kTolerance)).value_or(sized.fastest);
    counts_[sized.type] += listed_.devices(sized.at, sized.options);
  }
}

double ListedProvisioner::slowest() const {
  double time = 0;
  for (const Sized& stage : stages_) time = std::max(time, listed_.seconds(stage.at));
  return time;
}

Score ListedProvisioner::price(double time) {
  if (!problem_.columns->whole_machines) return price_plan(problem_, counts_.data(), time, violation_);
  for (int t = 0; t < problem_.types; ++t) rented_[t] = rented(*problem_.columns, t, counts_[t]);
  return price_plan(problem_, rented_.data(), time, violation_);
}

// As OptionProvisioner::choose_without_schedule.
std::optional<Score> ListedProvisioner::best(const std::vector<Stage>& stages) {
  if (!begin(stages)) return std::nullopt;
  reach(stages, problem_.goal_time());
  const double slowest = this->slowest();
  const bool reached = meets(slowest, problem_.goal_time());
  if (!reached) reach(stages, slowest);
  const auto keep = [&] {
    best_.clear();
    for (const Sized& stage : stages_) best_.push_back(stage.at);
  };
  keep();
  Score best = price(this->slowest());
  if (!reached) return best;
  times_.clear();
  for (size_t s = 0; s < stages_.size(); ++s)
    times_.emplace_back(listed_.seconds(stages_[s].at), -static_cast<int>(s));
  std::make_heap(times_.begin(), times_.end());
  StopCounter& work = StopCounter::of_thread();
  for (int until_check = 0; add_devices();) {
    work.count();
    if (const Score now = price(times_.front().first); improves_beyond_tie(problem_, now, best)) {
      best = now;
      keep();
    } else if (--until_check <= 0) {
      if (!can_improve(best)) break;
      until_check = static_cast<int>(stages_.size()) / 4;
    }
  }
  return best;
}

// Whether any later state may be better: none is faster than the fastest, or has fewer devices. Where work
// grows, the lower bound of the cost is convex in the stage time, as in Provisioner.
bool ListedProvisioner::can_improve(const Score& best) {
  if (!improves_beyond_tie(problem_, price(fastest_), best)) return false;
  if (problem_.objective != Objective::cost || !listed_.work_grows()) return true;
  const double time = times_.front().first;
  DevicesBound sum{time * problem_.fixed_price, problem_.fixed_price};
  for (const Sized& stage : stages_) {
    const auto& [serial, parallel, other_serial, other_parallel] = stage.bounds;
    const DevicesBound bound =
        devices_bound(part_bound(serial, parallel, time), part_bound(other_serial, other_parallel, time), time);
    sum.value += problem_.price[stage.type] * bound.value;
    sum.slope += problem_.price[stage.type] * bound.slope;
  }
  return sum.slope > 0 || !meets(best.cost, problem_.cost_scale() * sum.value);
}

// Returns false if the slowest stage has no faster option.
bool ListedProvisioner::add_devices() {
  Sized& stage = stages_[-times_.front().second];
  const std::uint32_t next = listed_.next_faster(stage.at, stage.options, stage.type);
  if (next == stage.options.end) return false;
  counts_[stage.type] += listed_.devices(next, stage.options) - listed_.devices(stage.at, stage.options);
  stage.at = next;
  std::pop_heap(times_.begin(), times_.end());
  times_.back().first = listed_.seconds(next);
  std::push_heap(times_.begin(), times_.end());
  return true;
}

std::vector<Option> ListedProvisioner::chosen() const {
  std::vector<Option> options;
  for (size_t s = 0; s < stages_.size(); ++s) {
    options.push_back(options_.listed(best_[s], stages_[s].options.begin, stages_[s].type));
    options.back().fits = 1;
  }
  return options;
}

}  // namespace stageplan
