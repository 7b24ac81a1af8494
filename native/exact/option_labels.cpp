#include "exact/option_labels.h"

#include <algorithm>
#include <cmath>

#include "common/stop.h"

namespace stageplan {

OptionLabels::OptionLabels(const Problem& problem, const PlanTerms& terms, const OptionGraph& graph,
                           const SlowestRange& range, const OptionRelaxation& relaxation, size_t width)
    : problem_(problem),
      terms_(terms),
      graph_(graph),
      range_(range),
      relaxation_(relaxation),
      width_(width),
      priced_(problem.objective != Objective::throughput || problem.max_price < kInfinity ||
              problem.max_cost < kInfinity),
      stride_(graph.positions().count + 1),
      states_((problem.layers + size_t{1}) * problem.types * stride_),
      counts_(problem.types) {
  find_limits();
  if (problem.columns->whole_machines)
    for (int t = 0; t < problem.types; ++t) compared_.push_back(t);
  else
    for (const Limit& limit : limits_) compared_.push_back(limit.type);
  if (!compared_.empty()) counted_ = problem.types;
}

void OptionLabels::find_limits() {
  for (int type : terms_.limited) {
    OptionPaths paths(problem_, graph_.positions());
    ArcWeights weights{0, 0, std::vector<double>(problem_.types)};
    weights.devices[type] = -1;
    work_ += 2 * graph_.size() * stride_;
    if (-paths.to_end(graph_, weights) <= terms_.limit[type]) continue;
    weights.devices[type] = 1;
    paths.from_start(graph_, weights);
    limits_.push_back({type, std::move(paths)});
  }
}

void OptionLabels::run(const Visit& visit) {
  const OptionArc* all = graph_.arcs().data();
  State& end = state(problem_.layers, 0, 0);
  end.labels.push_back({0, 0, range_.low, range_.sync_low, 0, -1, -1, 0, 0});
  end.counts.assign(counted_, 0);
  kept_.push_back({-1, -1});
  for (int cut = problem_.layers - 1; cut >= 0; --cut) {
    for (const OptionArc& arc : graph_.from(cut))
      for (int p = arc.nearest; p <= arc.farthest; ++p) extend_all(static_cast<int>(&arc - all), p);
    for (int t = 0; t < problem_.types; ++t)
      for (size_t p = 1; p < stride_; ++p) prune(state(cut, t, static_cast<int>(p)));
  }
  std::vector<Label> complete;
  for (size_t i = 0; i < problem_.types * stride_; ++i)
    complete.insert(complete.end(), states_[i].labels.begin(), states_[i].labels.end());
  std::sort(complete.begin(), complete.end(), [](const Label& a, const Label& b) { return a.bound < b.bound; });
  for (const Label& label : complete)
    if (!visit(path_of(label), label.bound)) return;
}

// Puts a stage at a position before all labels that it may stand before.
void OptionLabels::extend_all(int number, int position) {
  const OptionArc& arc = graph_.arcs()[number];
  const int cut = arc.last + 1;
  if (cut == problem_.layers) return extend(number, position, state(cut, 0, 0), state(cut, 0, 0).labels[0]);
  const bool last_class = graph_.positions().open && position == graph_.positions().count;
  for (int t = 0; t < problem_.types; ++t) {
    if (t == arc.type && !problem_.neighbours_may_share_type()) continue;
    for (int p = position - 1; p <= position - 1 + last_class; ++p)
      for (const Label& label : state(cut, t, p).labels) extend(number, position, state(cut, t, p), label);
  }
}

void OptionLabels::extend(int number, int position, const State& from, const Label& label) {
  check_stop_often();
  ++work_;
  const OptionArc& arc = graph_.arcs()[number];
  Label longer{.pass = label.pass + arc.pass,
               .price = label.price + arc.price,
               .time = std::max(label.time, arc.time),
               .sync = std::max(label.sync, arc.sync),
               .bound = 0,
               .next = label.own,
               .arc = number,
               .own = 0,
               .counts = 0};
  if (counted_ > 0) {
    std::copy_n(&from.counts[label.counts], counted_, counts_.begin());
    counts_[arc.type] += arc.devices;
    if (breaks_limit(arc, position)) return;
  }
  longer.bound = relaxation_.least_through({.pass = longer.pass,
                                            .price = longer.price,
                                            .time = longer.time,
                                            .sync = longer.sync,
                                            .rent = rent(),
                                            .devices = counted_ > 0 ? counts_.data() : nullptr,
                                            .cut = arc.first,
                                            .type = arc.type,
                                            .position = position});
  if (longer.bound == kInfinity) return;
  State& to = state(arc.first, arc.type, position);
  longer.counts = to.counts.size();
  to.counts.insert(to.counts.end(), counts_.begin(), counts_.begin() + static_cast<std::ptrdiff_t>(counted_));
  to.labels.push_back(longer);
}

// Whether the stages before need more devices than the limits leave.
bool OptionLabels::breaks_limit(const OptionArc& arc, int position) const {
  return std::any_of(limits_.begin(), limits_.end(), [&](const Limit& limit) {
    const double before = limit.fewest.before(arc.first, arc.type)[position];
    return counts_[limit.type] + before > terms_.limit[limit.type];
  });
}

// $/hour of the whole machines that the devices take up.
double OptionLabels::rent() const {
  if (!problem_.columns->whole_machines) return 0;
  double rent = 0;
  for (int t = 0; t < problem_.types; ++t) rent += problem_.price[t] * rented(*problem_.columns, t, counts_[t]);
  return rent;
}

bool OptionLabels::dominates(const State& state, const Label& a, const Label& b) const {
  if (a.pass > b.pass || (priced_ && a.price > b.price) || a.time > b.time || a.sync > b.sync) return false;
  return std::all_of(compared_.begin(), compared_.end(),
                     [&](int t) { return state.counts[a.counts + t] <= state.counts[b.counts + t]; });
}

void OptionLabels::prune(State& state) {
  std::sort(state.labels.begin(), state.labels.end(), [](const Label& a, const Label& b) {
    return std::tie(a.bound, a.price, a.pass) < std::tie(b.bound, b.price, b.pass);
  });
  std::vector<Label> kept;
  for (const Label& label : state.labels) {
    check_stop_often();
    work_ += kept.size() / 8;
    if (std::any_of(kept.begin(), kept.end(), [&](const Label& a) { return dominates(state, a, label); }))
      continue;
    if (kept.size() == width_) {
      given_up_ = std::min(given_up_, label.bound);
      break;  // those behind promise no more
    }
    kept.push_back(label);
    kept.back().own = static_cast<int>(kept_.size());
    kept_.push_back({label.next, label.arc});
  }
  state.labels = std::move(kept);
}

OptionPath OptionLabels::path_of(const Label& label) const {
  OptionPath path;
  for (Kept at{label.next, label.arc}; at.arc >= 0; at = kept_[at.next]) path.push_back(graph_.arcs()[at.arc]);
  return path;
}

}  // namespace stageplan
