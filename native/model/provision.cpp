#include "model/provision.h"

#include <algorithm>

#include "common/stop.h"
#include "model/devices_bound.h"

namespace stageplan {
namespace {

constexpr std::uint64_t kWorkOfStep = 64;  // options examined, where stages are chosen among them
constexpr double kStride = 0.999;  // factor between stage times, if steps of one device would be too many

DevicesBound stage_bound(const Problem& problem, const StageLoad& load, double time) {
  if (!problem.overlap)
    return devices_bound(part_bound(load.serial_compute + load.serial_transfer,
                                    load.parallel_compute + load.parallel_transfer, time),
                         {0, 0}, time);
  return devices_bound(part_bound(load.serial_compute, load.parallel_compute, time),
                       part_bound(load.serial_transfer, load.parallel_transfer, time), time);
}

}  // namespace

Provisioner::Provisioner(const Problem& problem) : problem_(problem) {
  if (problem.by_options()) by_options_ = std::make_unique<OptionProvisioner>(problem);
}

// Copies the last choice.
Score Provisioner::choose_options(const Score& score) {
  devices_.clear();
  for (const Option& option : by_options_->chosen()) devices_.push_back(option.devices);
  complete_ = by_options_->complete();
  return score;
}

// Returns false if a stage cannot be that fast.
bool Provisioner::set_devices(double time) {
  bool reached = true;
  devices_.clear();
  counts_.assign(problem_.types, 0);
  for (const Stage& stage : *stages_) {
    const Devices devices = devices_for(problem_, stage.load, stage.type, time);
    reached = reached && devices.reached;
    devices_.push_back(devices.count);
    counts_[stage.type] += devices.count;
  }
  set_times();
  return reached;
}

void Provisioner::set_times() {
  times_.clear();
  for (size_t s = 0; s < devices_.size(); ++s)
    times_.emplace_back(stage_time(problem_, (*stages_)[s].load, devices_[s]), -static_cast<int>(s));
  std::make_heap(times_.begin(), times_.end());
}

Score Provisioner::score() const {
  return price_plan(problem_, counts_.data(), times_.front().first, stage_violation_);
}

// Returns false if the slowest stage may not have another device or would not be faster with it.
bool Provisioner::add_device() {
  const auto [time, negative] = times_.front();
  const int s = -negative;
  const Stage& stage = (*stages_)[s];
  if (devices_[s] >= problem_.max_devices_per_stage) return false;
  const double next = stage_time(problem_, stage.load, devices_[s] + 1);
  if (next >= time) return false;
  ++devices_[s];
  ++counts_[stage.type];
  std::pop_heap(times_.begin(), times_.end());
  times_.back().first = next;
  std::push_heap(times_.begin(), times_.end());
  return true;
}

Score Provisioner::reach(const std::vector<Stage>& stages, double time) {
  if (by_options_) return choose_options(by_options_->reach(stages, time));
  stages_ = &stages;
  stage_violation_ = 0;
  for (const Stage& stage : stages)
    stage_violation_ += stageplan::stage_violation(problem_, stage.load, stage.type);
  set_devices(time);
  return score();
}

bool improves_beyond_tie(const Problem& problem, const Score& now, const Score& best) {
  if (!meets(best.violation, now.violation)) return true;
  if (!meets(now.violation, best.violation)) return false;
  return !meets(objective_of(problem, best), objective_of(problem, now));
}

Score Provisioner::best(const std::vector<Stage>& stages, int steps) {
  if (by_options_) return choose_options(by_options_->best(stages, steps * kWorkOfStep));
  complete_ = true;
  const Score start = reach(stages, problem_.goal_time());
  if (!meets(start.time, problem_.goal_time())) return reach(stages, start.time);
  if (problem_.objective != Objective::throughput) return walk(steps);
  if (device_violation(problem_, counts_.data()) == 0) {
    jump_to_fastest();
    const Score fastest = walk(kMaxDevices);
    if (fastest.violation == stage_violation_) return fastest;
    set_devices(problem_.goal_time());  // too expensive: also consider the slower states
  }
  return walk(kMaxDevices);
}

// To the next lower stage time, by one device; in strides after many steps, but not past a target.
bool Provisioner::go_faster(std::uint64_t step, const std::vector<double>& targets) {
  if (step < kAllSteps) return add_device();
  const double now = times_.front().first;
  const auto next = std::find_if(targets.begin(), targets.end(), [&](double t) { return !meets(now, t); });
  const double time = now * kStride;
  return set_devices(next == targets.end() ? time : std::max(time, *next)) && times_.front().first < now;
}

void Provisioner::visit_all(const std::vector<Stage>& stages, const std::vector<double>& targets,
                            double fastest, const Visit& visit) {
  Score now = reach(stages, problem_.goal_time());
  if (!meets(now.time, problem_.goal_time()) || stage_violation_ > 0) return;
  Score cheapest;  // of those that are fast enough
  for (std::uint64_t step = 0;; now = score()) {
    check_stop_often();
    ++looked_at_;
    if (device_violation(problem_, counts_.data()) > 0) return;
    if (!visit(now)) return;
    if (now.time < fastest && now.cost < cheapest.cost) cheapest = now;
    if (now.time < fastest && !can_improve(cheapest)) return;
    if (!go_faster(step++, targets)) return;
  }
}

// Bisection between a stage time that the limits on devices and price allow and one that they do not.
void Provisioner::jump_to_fastest() {
  double slow = times_.front().first, fast = 0;
  for (int halving = 0; halving < 60 && fast < slow * (1 - kTolerance); ++halving) {
    check_stop();
    const double middle = (slow + fast) / 2;
    if (set_devices(middle) && device_violation(problem_, counts_.data()) == 0)
      slow = times_.front().first;
    else
      fast = middle;
  }
  set_devices(slow);
}

Score Provisioner::walk(int steps) {
  Score best = score();
  best_devices_ = devices_;
  int step = 0, until_check = 0;
  StopCounter& work = StopCounter::of_thread();
  for (; step < steps && add_device(); ++step) {
    work.count();
    ++looked_at_;
    const Score now = score();
    if (now.violation > best.violation &&
        stage_violation_ + device_violation(problem_, counts_.data()) > best.violation)
      break;
    if (improves_beyond_tie(problem_, now, best)) {
      best = now;
      best_devices_ = devices_;
    } else if (--until_check <= 0) {
      if (!can_improve(best)) break;
      until_check = static_cast<int>(devices_.size()) / 4;
    }
  }
  complete_ = step < steps || !can_improve(best);
  devices_ = best_devices_;
  return best;
}

// Whether any later state may be better: the lower bound of the cost is convex in the stage time, so that later
// states cost at least as much once it rises. More devices never lower the hourly price.
bool Provisioner::can_improve(const Score& best) const {
  const auto violation = [&] { return stage_violation_ + device_violation(problem_, counts_.data()); };
  if (problem_.objective == Objective::price && meets(best.violation, violation())) return false;
  const double time = times_.front().first;
  DevicesBound sum{time * problem_.fixed_price, problem_.fixed_price};
  for (const Stage& stage : *stages_) {
    const DevicesBound bound = stage_bound(problem_, stage.load, time);
    sum.value += problem_.price[stage.type] * bound.value;
    sum.slope += problem_.price[stage.type] * bound.slope;
  }
  if (sum.slope > 0) return true;
  const double cost = problem_.cost_scale() * sum.value;
  if (problem_.objective == Objective::cost) return !meets(best.cost, cost);
  return meets(violation() + excess(cost, problem_.max_cost), best.violation);
}

}  // namespace stageplan
