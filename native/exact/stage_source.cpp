#include "exact/stage_source.h"

#include <algorithm>
#include <limits>

#include "model/option_lists.h"

namespace stageplan {
namespace {

constexpr double kRate = 1 - kTolerance;  // margin for rounding: bounds stay valid

const Options& options_of(const Problem& problem) { return problem.option_lists().options(); }

std::optional<Arc> by_law(const Problem& problem, const StageLoad& load, int first, int last, int type,
                          double time) {
  const Devices devices = devices_for(problem, load, type, time);
  if (!devices.reached || devices.count > most_devices(problem, type)) return std::nullopt;
  return Arc{first, last, type, devices.count, stage_time(problem, load, devices.count)};
}

bool too_long(const Problem& problem, const StageLoad& load, int type, double time) {
  return stage_violation(problem, load, type) > 0 ||
         !meets(load.compute_time(most_devices(problem, type)), time);
}

}  // namespace

int most_devices(const Problem& problem, int type) {
  return static_cast<int>(std::min<double>(problem.max_devices_per_stage, problem.limit[type]));
}

bool StageSource::serves(const Problem& problem) {
  if (!problem.by_options()) return true;
  const Columns& columns = *problem.columns;
  const bool alone = columns.schedule == Schedule::none && !columns.whole_machines && !columns.same_strategy &&
                     !columns.same_replicas && columns.max_stages == std::numeric_limits<int>::max();
  return alone && !columns.listed.empty() && options_of(problem).work_grows();
}

StageSource::StageSource(const Problem& problem, const StageLoads& loads)
    : problem_(problem), loads_(loads), longest_time_(stageplan::longest_time(problem)) {
  if (problem.by_options()) {
    longest_time_ = options_of(problem).longest_listed();
    for (int type = 0; type < problem.types; ++type) add_work(type);
  }
  least_prices_.assign(problem.layers, kInfinity);
  for (int l = 0; l < problem.layers; ++l)
    for (int t = 0; t < problem.types; ++t)
      if (problem.limit[t] >= 1) least_prices_[l] = std::min(least_prices_[l], work_price(l, t));
}

// Layer by layer as much as no stage that ends there has less: it is with its fewest devices that it has least.
void StageSource::add_work(int type) {
  const Options& options = options_of(problem_);
  std::vector<double> work(problem_.layers + 1);
  for (int last = 0; last < problem_.layers; ++last) {
    double least = kInfinity;
    for (int first = 0; first <= last; ++first) {
      const Option option = options.first_within(first, last, type, {}, kInfinity, 1);
      if (option.devices > 0)
        least = std::min(least, option.devices * option.time * kRate - (work[last] - work[first]));
    }
    work[last + 1] = work[last] + (least < kInfinity ? least : 0);
  }
  work_.push_back(std::move(work));
}

std::optional<Arc> StageSource::reach(int first, int last, int type, double time) const {
  if (!listed()) return by_law(problem_, loads_(first, last, type), first, last, type, time);
  const Option option = options_of(problem_).first_within(first, last, type, {}, time * (1 + kTolerance), 1);
  if (option.devices == 0 || option.devices > problem_.limit[type]) return std::nullopt;
  return Arc{first, last, type, option.devices, option.time};
}

StageSource::Found StageSource::find(int first, int last, int type, double time) const {
  if (listed()) return {reach(first, last, type, time), false};
  const StageLoad load = loads_(first, last, type);
  if (too_long(problem_, load, type, time)) return {std::nullopt, true};
  return {by_law(problem_, load, first, last, type, time), false};
}

double StageSource::work_price(int layer, int type) const {
  if (listed()) return problem_.price[type] * (work_[type][layer + 1] - work_[type][layer]);
  const double seconds = problem_.compute[static_cast<size_t>(layer) * problem_.types + type];
  return seconds == kInfinity ? kInfinity : problem_.price[type] * seconds;
}

}  // namespace stageplan
