#include "exact/option_graph.h"

#include <algorithm>

#include "common/stop.h"

namespace stageplan {
namespace {

// As a stage of a plan whose slowest ones are of a range, `a` is no worse than `b` wherever that may be.
bool replaces(const OptionArc& a, const OptionArc& b, const SlowestRange& range) {
  return a.devices <= b.devices && a.pass <= b.pass &&
         std::max(a.time, range.low) <= std::max(b.time, range.low) &&
         std::max(a.sync, range.sync_low) <= std::max(b.sync, range.sync_low) && a.nearest <= b.nearest &&
         a.farthest >= b.farthest;
}

bool same_stage(const OptionArc& a, const OptionArc& b) {
  return a.first == b.first && a.last == b.last && a.type == b.type;
}

}  // namespace

bool Positions::allow(std::span<const OptionArc> path) const {
  const int stages = static_cast<int>(path.size());
  if (stages > count && !open) return false;
  for (int i = 0; i < stages; ++i)
    if (std::min(stages - i, count) > path[i].farthest) return false;
  return true;
}

OptionGraph::OptionGraph(const Problem& problem, const OptionGroup& group, const std::vector<double>& limit,
                         double most_time, double most_price, int stride)
    : problem_(&problem),
      group_(group),
      first_only_(problem.option_lists().options().times_fall()),
      begin_(problem.layers + 2) {
  const OptionLists& lists = problem.option_lists();
  const int least = lists.options().in_flight(1);
  std::vector<Option> buffer;
  for (int first = 0; first < problem.layers; first += stride) {
    check_stop();
    for (int last = first; last < problem.layers; ++last) {
      if (last + 1 < problem.layers && (last + 1) % stride != 0) continue;
      for (int type = 0; type < problem.types; ++type) {
        if (first_only_) {
          const Option option = lists.options().first_within(first, last, type, group, most_time, 1);
          if (option.devices > 0 && option.devices <= limit[type]) add(problem, first, last, type, option);
          continue;
        }
        for (const Option& option : lists.fitting(first, last, type, buffer)) {
          if (option.fits < least || option.devices > limit[type] || !lists.in_group(option, group)) continue;
          if (plan_time(*problem.columns, option.time, option.pass, option.sync) > most_time) continue;
          if (problem.price[type] * option.devices <= most_price) add(problem, first, last, type, option);
        }
      }
    }
  }
  set_positions(problem);
}

void OptionGraph::transfer(State& state, const Problem& problem) {
  const Options& options = problem.option_lists().options();
  if (state.loading()) {
    problem_ = &problem;
    first_only_ = options.times_fall();
    begin_.resize(problem.layers + 2);
  }
  for (int* number : {&group_.strategy, &group_.replicas, &positions_.count}) state(*number);
  state(positions_.open);
  const auto& groups = options.groups();
  state.check(std::find(groups.begin(), groups.end(), group_) != groups.end());
  state.check(0 <= positions_.count && positions_.count <= problem.layers);
  state.size(arcs_, sizeof(OptionArc));
  for (int before = 0; OptionArc & arc : arcs_) {
    for (int* number : {&arc.first, &arc.last, &arc.type, &arc.devices, &arc.nearest, &arc.farthest})
      state(*number);
    for (double* number : {&arc.time, &arc.pass, &arc.sync, &arc.price}) {
      state(*number);
      state.check(*number >= 0);
    }
    state.check(before <= arc.first && arc.first <= arc.last && arc.last < problem.layers);
    state.check(0 <= arc.type && arc.type < problem.types && 0 < arc.devices);
    state.check(1 <= arc.nearest && arc.nearest <= arc.farthest && arc.farthest <= positions_.count);
    before = arc.first;
  }
  index();
}

void OptionGraph::add(const Problem& problem, int first, int last, int type, const Option& option) {
  arcs_.push_back({.first = first,
                   .last = last,
                   .type = type,
                   .devices = option.devices,
                   .nearest = 1,
                   .farthest = option.fits,
                   .time = option.time,
                   .pass = option.pass,
                   .sync = option.sync,
                   .price = problem.price[type] * option.devices});
}

// From the farthest position on that some arc cannot be at, positions need not be told apart.
void OptionGraph::set_positions(const Problem& problem) {
  const int most = problem.option_lists().options().most_in_flight(), layers = problem.layers,
            stages = problem.columns->max_stages;
  int farthest = 0;
  for (const OptionArc& arc : arcs_)
    if (arc.farthest < most) farthest = std::max(farthest, arc.farthest);
  const int count = stages < layers ? stages : std::min(layers, farthest + 1);
  positions_ = {count, stages >= layers && count < layers};
  keep([&](OptionArc& arc) {
    if (arc.last + 1 < layers && (count > 1 || !positions_.open)) arc.nearest = 2;
    arc.farthest = std::min({count, arc.farthest < most ? arc.farthest : count, layers - arc.last});
    if (arc.last + 1 == layers) arc.farthest = 1;
    return arc.nearest <= arc.farthest;
  });
}

void OptionGraph::select(const OptionGraph& graph, const SlowestRange& range) {
  arcs_.clear();
  begin_.resize(graph.begin_.size());
  positions_ = graph.positions_;
  problem_ = graph.problem_;
  group_ = graph.group_;
  first_only_ = graph.first_only_;
  if (first_only_) return select_first(graph, range.high);
  size_t stage = 0;  // where its arcs begin
  for (const OptionArc& arc : graph.arcs_) {
    if (arc.time > range.high || arc.sync > range.sync_high) continue;
    if (stage < arcs_.size() && !same_stage(arcs_[stage], arc)) stage = arcs_.size();
    const auto begin = arcs_.begin() + static_cast<std::ptrdiff_t>(stage);
    // Of those above the least times of the range, none was replaced where options were listed.
    const bool below = arc.time < range.low || arc.sync < range.sync_low;
    const auto replaced = [&](const OptionArc& a) { return replaces(a, arc, range); };
    if (below && std::any_of(begin, arcs_.end(), replaced)) continue;
    // By devices, so that only arcs with the same ones may be replaced.
    if (begin != arcs_.end() && arcs_.back().devices == arc.devices)
      arcs_.erase(
          std::remove_if(begin, arcs_.end(), [&](const OptionArc& a) { return replaces(arc, a, range); }),
          arcs_.end());
    arcs_.push_back(arc);
  }
  index();
}

void OptionGraph::select_first(const OptionGraph& graph, double most_time) {
  const Options& options = problem_->option_lists().options();
  for (OptionArc arc : graph.arcs_) {
    if (arc.time > most_time) {
      const Option option = options.first_within(arc.first, arc.last, arc.type, group_, most_time, arc.devices);
      if (option.devices == 0) continue;
      arc.devices = option.devices;
      arc.time = option.time;
      arc.price = problem_->price[arc.type] * option.devices;
    }
    arcs_.push_back(arc);
  }
  index();
}

void OptionGraph::index() {
  std::fill(begin_.begin(), begin_.end(), 0);
  for (const OptionArc& arc : arcs_) ++begin_[arc.first + 1];
  for (size_t i = 1; i < begin_.size(); ++i) begin_[i] += begin_[i - 1];
}

// From `low` on, of all options that an arc stands for.
double OptionGraph::least_time(const OptionArc& arc, double low) const {
  return problem_->option_lists().options().least_time_from(arc.first, arc.last, arc.type, group_, low,
                                                            arc.devices);
}

bool OptionGraph::tighten(SlowestRange& range) const {
  SlowestRange tight{kInfinity, -1, kInfinity, -1};
  for (const OptionArc& arc : arcs_) {
    if (arc.time >= range.low) tight.low = std::min(tight.low, arc.time);
    if (arc.sync >= range.sync_low) tight.sync_low = std::min(tight.sync_low, arc.sync);
    if (first_only_ && arc.time >= range.low) tight.low = std::min(tight.low, least_time(arc, range.low));
    tight.high = std::max(tight.high, arc.time);
    tight.sync_high = std::max(tight.sync_high, arc.sync);
  }
  range = tight;
  return range.low <= range.high && range.sync_low <= range.sync_high;
}

PathSums::PathSums(const OptionPath& path) {
  for (const OptionArc& arc : path) {
    pass += arc.pass;
    price += arc.price;
    time = std::max(time, arc.time);
    sync = std::max(sync, arc.sync);
  }
}

Genes scheme_of(const Problem& problem, const OptionPath& path) {
  const std::vector<int>& labels = problem.label_types();
  Genes scheme(problem.layers);
  int before = -1;
  for (const OptionArc& arc : path) {
    const auto label = std::find(labels.begin(), labels.end(), arc.type) - labels.begin();
    before = static_cast<int>(before == label ? label + 1 : label);
    std::fill(scheme.begin() + arc.first, scheme.begin() + arc.last + 1, static_cast<std::int8_t>(before));
  }
  return scheme;
}

}  // namespace stageplan
