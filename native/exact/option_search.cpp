#include "exact/option_search.h"

#include <algorithm>
#include <cmath>

#include "common/stop.h"
#include "exact/option_labels.h"
#include "model/provision.h"

namespace stageplan {
namespace {

constexpr size_t kFewArcs = 1500;  // for which labels are set
constexpr double kNear = 1.3;      // ranges in which the positions of stages are told apart
constexpr double kBroad = 2;       // ranges that are divided after few rounds of shortest paths
constexpr int kRounds = 6, kFewRounds = 2;
constexpr double kLoose = 0.4;      // bounds so far below the best plan rule out few arcs
constexpr double kWide = 1.15;      // ranges of times are halved first
constexpr double kNarrow = 1.15;    // for which labels are set however many arcs there are
constexpr size_t kFirstWidth = 64;  // labels of a type and position at a cut
constexpr size_t kWidthFactor = 4;
constexpr size_t kMostWidth = size_t{1} << 14;
constexpr int kCoarse = 16;  // cuts that the first plans may choose from
constexpr int kCoarseBoxes = 24;
constexpr size_t kRecent = 16;
constexpr std::uint64_t kStageWork = 64;   // of the options of a stage, roughly
constexpr std::uint64_t kArcWork = 8;      // of an arc at a position, roughly
constexpr std::uint64_t kSlice = 1 << 22;  // work of a step

// Whether nothing is left to divide.
bool one_value(const SlowestRange& range) {
  return range.low == range.high && range.sync_low == range.sync_high;
}

// What limits are given away in bounds, so that rounding excludes no plan that just keeps them.
double loose(double limit) { return limit * (1 + 2 * kTolerance); }

}  // namespace

OptionSearch::OptionSearch(const Problem& problem, const Genes& initial)
    : Search(problem), terms_(problem), worth_{problem.objective, problem.cost_scale()} {
  const StageLoads loads(problem);
  Provisioner provisioner(problem);
  std::vector<Stage> stages;
  const Genes first = initial.empty() ? homogeneous_schemes(problem) : initial;
  for (size_t i = 0; i < first.size(); i += layers_) {
    merge(problem, loads, &first[i], stages);
    keep(&first[i], provisioner.best(stages));
    ++evaluations_;
  }
  update_worth();
}

void OptionSearch::update_worth() {
  const double best = least() * (1 - kTolerance);
  const auto most = [&](Objective of, double limit) {
    return std::min(loose(limit), worth_.objective == of ? best : kInfinity);
  };
  worth_.most_time = most(Objective::throughput, problem_.goal_time());
  worth_.most_price = most(Objective::price, problem_.max_price);
  worth_.most_cost = most(Objective::cost, problem_.max_cost);
}

bool OptionSearch::closed(double bound) const { return bound == kInfinity || meets(least(), bound); }

double OptionSearch::bound() const {
  double bound = std::min(least(), abandoned_);
  if (!started_) return 0;
  for (const Box& box : open_) bound = std::min(bound, box.bound);
  return bound;
}

void OptionSearch::transfer(State& state) {
  Search::transfer(state);
  state.check(!best().empty());
  state(work_);
  state(started_);
  state(abandoned_);
  state.size(recent_);
  for (Genes& scheme : recent_) stageplan::transfer(state, problem_, scheme, 1);
  SharedState<OptionGraph> graphs;
  state.size(open_);
  for (Box& box : open_) transfer(state, box, graphs);
  update_worth();
}

void OptionSearch::transfer(State& state, Box& box, SharedState<OptionGraph>& graphs) const {
  SlowestRange& range = box.range;
  for (double* number : {&range.low, &range.high, &range.sync_low, &range.sync_high, &box.bound}) {
    state(*number);
    state.check(*number >= 0);
  }
  graphs(state, box.graph, [&](OptionGraph& graph) { graph.transfer(state, problem_); });
  state.check(box.graph != nullptr);
  state.size(box.weightings);
  for (Weighting& weighting : box.weightings) {
    for (double* number : {&weighting.time, &weighting.price, &weighting.value}) state(*number);
    state(weighting.devices);
    state.check(weighting.devices.size() == problem_.price.size());
  }
  state.check(box.weightings.size() >= 2);
  state(box.width);
  state.check(box.width <= kMostWidth);
}

Genes OptionSearch::tried() const {
  Genes schemes = best();
  for (const Genes& scheme : recent_) schemes.insert(schemes.end(), scheme.begin(), scheme.end());
  return schemes;
}

void OptionSearch::step() {
  const std::uint64_t until = work_ + kSlice;
  do process_next();
  while (!done_ && work_ < until);
}

std::uint64_t OptionSearch::next_work() const {
  if (!started_) return layers_ * layers_ * problem_.types * kStageWork;
  const OptionGraph& graph = *open_.front().graph;
  return graph.size() * graph.positions().count * kArcWork;
}

void OptionSearch::advance(std::uint64_t work) {
  while (!done_ && work_ + next_work() <= work) process_next();
}

void OptionSearch::process_next() {
  if (!started_) start();
  started_ = true;
  if (!open_.empty()) {
    Box box = pop();
    const Box whole = box;
    try {
      look_into(std::move(box));
    } catch (const Stopped&) {
      push(whole);
      throw;
    }
  }
  while (!open_.empty() && closed(open_.front().bound)) pop();
  done_ = open_.empty();
}

// First plans of the few stages whose cuts are far apart, then all.
void OptionSearch::start() {
  open_.clear();
  abandoned_ = kInfinity;
  for (const OptionGroup& group : problem_.option_lists().options().groups()) {
    if (problem_.layers >= 2 * kCoarse) try_coarsely(group, problem_.layers / kCoarse);
  }
  for (const OptionGroup& group : problem_.option_lists().options().groups()) open_group(group, 1);
}

void OptionSearch::try_coarsely(const OptionGroup& group, int stride) {
  const double abandoned = abandoned_;
  const std::vector<Box> open = std::move(open_);
  open_.clear();
  open_group(group, stride);
  for (int boxes = 0; boxes < kCoarseBoxes && !open_.empty(); ++boxes) look_into(pop());
  open_ = open;
  abandoned_ = abandoned;
}

void OptionSearch::open_group(const OptionGroup& group, int stride) {
  auto graph = std::make_shared<const OptionGraph>(problem_, group, terms_.limit, worth_.most_time,
                                                   worth_.most_price - terms_.fixed_price, stride);
  work_ += graph->size() * 8;
  const std::vector<double> none(problem_.types);
  push({{0, kInfinity, 0, kInfinity}, 0, graph, {{0, 1, none}, {1, 0, none}}, kFirstWidth});
}

// Leaves out stage times and all-reduce that alone take longer than any plan that counts.
void OptionSearch::limit_range(SlowestRange& range) const {
  if (terms_.slowest > 0)
    range.high = std::min(range.high, (worth_.most_time - range.sync_low) / terms_.slowest);
  range.sync_high = std::min(range.sync_high, worth_.most_time - terms_.slowest * range.low);
}

void OptionSearch::look_into(Box box) {
  limit_range(box.range);
  const Positions first = box.graph->positions().first(1);
  OptionRelaxation known(problem_, terms_, *box.graph, box.range, worth_, first, box.weightings);
  box.bound = std::max(box.bound, known.least());
  if (closed(box.bound)) return;
  work_ += box.graph->size();
  graph_.select(*box.graph, box.range);
  if (!graph_.tighten(box.range)) return;
  Closest closest;
  if (!bound_box(box, closest)) return;
  box.graph = std::make_shared<const OptionGraph>(graph_);
  divide(std::move(box), closest.path);
}

// False where the box is closed. First as if stages could be at any position.
bool OptionSearch::bound_box(Box& box, Closest& closest) {
  if (!narrow_box(box, graph_.positions().first(1), closest)) return false;
  const bool near = box.range.high <= kNear * box.range.low;
  return graph_.positions().alike() || !near || narrow_box(box, graph_.positions(), closest);
}

// Raises the bound of a box and cuts its graph down; false where the box is closed.
bool OptionSearch::narrow_box(Box& box, const Positions& positions, Closest& closest) {
  OptionRelaxation relaxation(problem_, terms_, graph_, box.range, worth_, positions, box.weightings);
  const double ratio = box.range.high / box.range.low;
  relaxation.raise(ratio > kBroad ? kFewRounds : kRounds, [&](const OptionPath& path) {
    if (graph_.positions().allow(path)) try_path(path);
    compare(path, box.range, closest);
  });
  box.bound = std::max(box.bound, relaxation.least());
  work_ += relaxation.work();
  if (closed(box.bound)) return false;
  if (ratio > kNear && box.bound < kLoose * least()) return true;
  relaxation.look_back();
  graph_.keep([&](OptionArc& arc) { return relaxation.narrow(arc); });
  if (positions.count == graph_.positions().count && ready_for_labels(box.range)) set_labels(box, relaxation);
  return !closed(box.bound);
}

// Without a schedule there is one position, so that labels of many arcs are quick too.
bool OptionSearch::ready_for_labels(const SlowestRange& range) const {
  if (terms_.pass == 0 && one_value(range)) return true;
  return !graph_.first_only() && graph_.size() <= kFewArcs && range.high <= kNarrow * range.low;
}

// Keeps the path if it would be better than `closest` at the least times of the range.
void OptionSearch::compare(const OptionPath& path, const SlowestRange& range, Closest& closest) const {
  const PathSums sums(path);
  const double objective =
      worth_.objective_of(terms_.time(range.low, sums.pass, range.sync_low), sums.price + terms_.fixed_price);
  if (objective < closest.objective) closest = {path, objective};
}

// Where all labels are kept, the box is closed.
void OptionSearch::set_labels(Box& box, const OptionRelaxation& relaxation) {
  OptionLabels labels(problem_, terms_, graph_, box.range, relaxation, box.width);
  labels.run([&](const OptionPath& path, double bound) {
    if (closed(bound)) return false;
    try_path(path);
    return true;
  });
  work_ += labels.work();
  box.bound = std::max(box.bound, labels.given_up());
}

// Scores a plan that was found on the way.
void OptionSearch::try_path(const OptionPath& path) {
  OptionPlan plan(problem_);
  for (const OptionArc& arc : path)
    plan.add({.devices = arc.devices,
              .column = 0,
              .replicas = 1,
              .time = arc.time,
              .pass = arc.pass,
              .sync = arc.sync,
              .memory = 0,
              .flight = 0,
              .violation = 0},
             arc.type);
  const Score score = plan.score();
  ++evaluations_;
  if (!better(problem_, score, best_score())) return;
  const Genes scheme = scheme_of(problem_, path);
  if (recent_.size() == kRecent) recent_.erase(recent_.begin());
  recent_.push_back(scheme);
  keep(scheme.data(), score);
  update_worth();
}

// In two, at a time such that the path counts in neither part: in the slower one it is too slow, in the faster
// one its slowest stage is.
void OptionSearch::divide(Box box, const OptionPath& path) {
  const SlowestRange& range = box.range;
  if (range.high > kWide * range.low || path.empty()) return halve(std::move(box));
  const PathSums sums(path);
  const double spare = worth_.longest(sums.price + terms_.fixed_price) - terms_.pass * sums.pass;
  const double slower = sums.time - range.low, longer = sums.sync - range.sync_low;
  const bool by_time = terms_.slowest * slower >= longer;
  const double below = std::nextafter(by_time ? sums.time : sums.sync, 0);
  if (by_time && split_time(box, std::min(below, (spare - range.sync_low) / terms_.slowest))) return;
  if (!by_time && split_sync(box, std::min(below, spare - terms_.slowest * range.low))) return;
  halve(std::move(box));
}

void OptionSearch::halve(Box box) {
  const SlowestRange& range = box.range;
  const auto middle = [](double low, double high) { return low > 0 ? std::sqrt(low * high) : high / 2; };
  const bool by_time = terms_.slowest * (range.high - range.low) >= range.sync_high - range.sync_low;
  if (by_time ? split_time(box, middle(range.low, range.high))
              : split_sync(box, middle(range.sync_low, range.sync_high)))
    return;
  box.width *= kWidthFactor;
  if (box.width <= kMostWidth)
    push(std::move(box));
  else
    abandoned_ = std::min(abandoned_, box.bound);
}

bool OptionSearch::split_time(const Box& box, double time) {
  if (!(box.range.low <= time && time < box.range.high)) return false;
  Box faster = box, slower = box;
  faster.range.high = time;
  slower.range.low = std::nextafter(time, kInfinity);
  push(std::move(faster));
  push(std::move(slower));
  return true;
}

bool OptionSearch::split_sync(const Box& box, double sync) {
  if (!(box.range.sync_low <= sync && sync < box.range.sync_high)) return false;
  Box shorter = box, longer = box;
  shorter.range.sync_high = sync;
  longer.range.sync_low = std::nextafter(sync, kInfinity);
  push(std::move(shorter));
  push(std::move(longer));
  return true;
}

void OptionSearch::push(Box box) {
  open_.push_back(std::move(box));
  std::push_heap(open_.begin(), open_.end(), later);
}

OptionSearch::Box OptionSearch::pop() {
  std::pop_heap(open_.begin(), open_.end(), later);
  Box first = std::move(open_.back());
  open_.pop_back();
  return first;
}

}  // namespace stageplan
