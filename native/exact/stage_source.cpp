#include "exact/stage_source.h"

#include <algorithm>
#include <limits>

#include "model/option_lists.h"

namespace stageplan {
namespace {

const ListedStages* listed_stages(const Problem& problem) {
  return problem.by_options() ? problem.option_lists().options().listed_stages() : nullptr;
}

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
  return alone && !columns.listed.empty() && listed_stages(problem)->work_grows();
}

StageSource::StageSource(const Problem& problem, const StageLoads& loads)
    : problem_(problem), loads_(loads), listed_(listed_stages(problem)) {
  longest_time_ = listed_ ? listed_->longest() : stageplan::longest_time(problem);
  least_prices_.assign(problem.layers, kInfinity);
  for (int l = 0; l < problem.layers; ++l)
    for (int t = 0; t < problem.types; ++t)
      if (problem.limit[t] >= 1) least_prices_[l] = std::min(least_prices_[l], work_price(l, t));
}

std::optional<Arc> StageSource::reach(int first, int last, int type, double time) const {
  if (!listed_) return by_law(problem_, loads_(first, last, type), first, last, type, time);
  return listed_arc(first, last, type, listed_->fewest(first, last, type, time * (1 + kTolerance)));
}

std::optional<Arc> StageSource::faster(const Arc& arc, double time) const {
  const auto& [first, last, type, devices, slow] = arc;
  if (!listed_) return reach(first, last, type, time);
  return listed_arc(first, last, type,
                    listed_->fewest_above(devices, slow, first, last, type, time * (1 + kTolerance)));
}

std::optional<Arc> StageSource::listed_arc(int first, int last, int type,
                                           const std::optional<ListedStages::Fewest>& found) const {
  if (!found || found->devices > problem_.limit[type]) return std::nullopt;
  return Arc{first, last, type, found->devices, found->time};
}

StageSource::Found StageSource::find(int first, int last, int type, double time) const {
  if (listed_) return {reach(first, last, type, time), false};
  const StageLoad load = loads_(first, last, type);
  if (too_long(problem_, load, type, time)) return {std::nullopt, true};
  return {by_law(problem_, load, first, last, type, time), false};
}

double StageSource::work_price(int layer, int type) const {
  if (listed_) {
    const std::vector<double>& work = listed_->work(type);
    return problem_.price[type] * (work[layer + 1] - work[layer]);
  }
  const double seconds = problem_.compute[static_cast<size_t>(layer) * problem_.types + type];
  return seconds == kInfinity ? kInfinity : problem_.price[type] * seconds;
}

}  // namespace stageplan
