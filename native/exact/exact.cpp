#include "exact/exact.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "common/stop.h"
#include "exact/descent.h"
#include "model/ties.h"

namespace stageplan {
namespace {

constexpr int kFirstSteps = 60;   // of the subgradient, where nothing is known of the multipliers
constexpr int kLaterSteps = 12;   // from those of a wider interval
constexpr double kNarrow = 1.02;  // high / low from which labels are set
constexpr size_t kFirstWidth = 64;
constexpr size_t kWidthFactor = 4;
constexpr size_t kMostWidth = size_t{1} << 14;
constexpr int kCoarse = 16;                    // cuts that the first plan may choose from
constexpr int kCoarseNodes = 24;               // intervals of these
constexpr int kFiner = 4;                      // times as many for each of the next
constexpr size_t kFewOpen = 64;                // intervals that are looked through for closed ones at no cost
constexpr size_t kMostOpen = size_t{1} << 17;  // where there are more, no proof is near: the search ends
constexpr size_t kRecent = 16;
constexpr size_t kManyArcs = size_t{1} << 12;  // of which no graph is made before the interval is narrow
constexpr std::uint64_t kSlice = 1 << 20;      // work of a step
constexpr std::uint64_t kArcWork = 16;         // of an arc in an interval, roughly
constexpr double kStep = 1 - kTie;             // to a stage time that is less by more than a tie
constexpr std::uint64_t kSweepWork = 16;       // of a type at a cut, roughly

}  // namespace

// What takes the least effort comes first, for a plan that it finds may spare the rest.
bool Exact::later(const Interval& a, const Interval& b) {
  if (a.width != b.width) return a.width > b.width;
  return a.bound != b.bound ? a.bound > b.bound : a.low > b.low;
}

Exact::Exact(const Problem& problem, const Genes& initial, const KnownStages& known)
    : Search(problem),
      loads_(known.loads ? known.loads : std::make_shared<const StageLoads>(problem)),
      stages_(problem, *loads_),
      pricing_(problem),
      provisioner_(problem),
      paths_(problem),
      matrix_(known.matrix) {
  if (problem.merge != Merge::adjacent)
    throw std::invalid_argument(
        "method 'exact' needs merge 'adjacent', whose stages are intervals of layers; of merge 'type' only "
        "method 'enumerate' finds the best plan");
  Genes first = initial;
  for (int label = 0; label < problem.labels() && initial.empty(); ++label)
    first.insert(first.end(), layers_, static_cast<std::int8_t>(label));
  for (size_t i = 0; i < first.size(); i += layers_) Exact::try_scheme(Genes(&first[i], &first[i] + layers_));
}

void Exact::try_scheme(const Genes& scheme) {
  check_stop();
  merge(problem_, *loads_, scheme.data(), merged_);
  const std::uint64_t before = provisioner_.looked_at();
  keep(scheme.data(), provisioner_.best(merged_));
  ++evaluations_;
  work_ += provisioner_.looked_at() - before;
}

double Exact::open_bound(double time) const {
  double bound = kInfinity;
  for (const Abandoned& interval : abandoned_)
    if (interval.low < time) bound = std::min(bound, interval.bound);
  for (const Interval& interval : open_)
    if (interval.low < time && !closed(interval)) bound = std::min(bound, interval.bound);
  return bound;
}

double Exact::bound() const {
  if (done_) return std::min(least(), open_bound());
  return std::min(least(), std::max(open_.empty() ? 0 : open_bound(), Search::bound()));
}

void Exact::transfer(State& state) {
  Search::transfer(state);
  state.check(!best().empty());
  state(work_);
  state(started_);
  state(descends_);
  state.check(!descends_ || may_descend());
  if (state.loading() && descends_) make_matrix();
  state(kept_open_);
  state.size(recent_);
  for (Genes& scheme : recent_) stageplan::transfer(state, problem_, scheme, 1);
  state.size(abandoned_, sizeof(Abandoned));
  for (Abandoned& interval : abandoned_)
    for (double* number : {&interval.low, &interval.bound}) state(*number);
  bool swept = sweep_.has_value();
  state(swept);
  if (swept && !sweep_) sweep_.emplace(problem_, stages_);
  Shared shared;
  state.size(open_);
  for (Interval& interval : open_) transfer(state, interval, shared);
}

void Exact::transfer(State& state, Interval& interval, Shared& shared) const {
  for (double* number : {&interval.low, &interval.high, &interval.bound}) {
    state(*number);
    state.check(*number >= 0);
  }
  shared.graphs(state, interval.graph, [&](StageGraph& graph) { graph.transfer(state, problem_); });
  shared.tails(state, interval.tails, [&](std::vector<Least>& tails) {
    state.size(tails, sizeof(double));
    state.check(tails.size() == layers_ + 1);
    for (Least& least : tails) {
      for (double* total : {&least.best, &least.second}) state(*total);
      for (int* number : {&least.arc, &least.second_arc, &least.type}) state(*number);
    }
  });
  state(interval.multipliers.types);
  state.check(interval.multipliers.types.size() == problem_.price.size());
  state(interval.multipliers.extra);
  state(interval.width);
  state(interval.aim);
  state.check(interval.width <= kMostWidth && (interval.aim == Aim::cheapest || interval.aim == Aim::any));
  state.check(interval.graph || sweep_ || (descends_ && matrix_));
}

bool Exact::closed(double bound, double low) const {
  if (pricing_.cheapest() && !meets(bound, pricing_.most())) return true;
  return bound == kInfinity || meets(to_beat(low), bound);
}

// Closed intervals go where they come first, and all of them once there are twice as many as were open: a look
// at each after every step would take most of the time where many are open.
void Exact::finish_if_closed() {
  while (!open_.empty() && closed(open_.front())) pop();
  if (open_.size() > 2 * kept_open_) {
    std::erase_if(open_, [&](const Interval& interval) { return closed(interval); });
    std::make_heap(open_.begin(), open_.end(), later);
    kept_open_ = std::max(open_.size(), kFewOpen);
  }
  done_ = open_.empty() || open_.size() > kMostOpen;
}

Exact::Interval Exact::pop() {
  std::pop_heap(open_.begin(), open_.end(), later);
  Interval first = std::move(open_.back());
  open_.pop_back();
  return first;
}

// All plans of these stage times whose cuts are multiples of `stride`, and no dearer than what they have to
// beat.
Exact::Interval Exact::all_plans(double low, double high, int stride, Aim aim) {
  const double excess = aim == Aim::cheapest
                            ? pricing_.excess(to_beat(low), longest_stage(high), stages_.least_prices())
                            : kInfinity;
  auto graph = std::make_shared<const StageGraph>(problem_, stages_, high, stride, excess);
  work_ += graph->size() * kArcWork;
  double slowest = 0;
  for (const Arc& arc : graph->arcs()) slowest = std::max(slowest, arc.time);
  if (slowest == 0) slowest = stages_.longest_time();
  return {low, std::min(high, slowest), 0, graph, nullptr, no_multipliers(), kFirstWidth, aim};
}

double Exact::longest_stage(double high) const { return std::min(high, stages_.longest_time()); }

// Where stages share no devices, `Descent` finds the best plan: of an interval of stage times from the stages
// chosen by a sweep, or at once from all stages of a small problem.
void Exact::start() {
  descends_ = may_descend();
  if (!descends_) return begin(0, problem_.goal_time(), pricing_.cheapest());
  make_matrix();
  if (!matrix_) sweep_.emplace(problem_, stages_);
  const double high = longest_stage(problem_.goal_time());
  push({0, high, 0, nullptr, nullptr, no_multipliers(), kFirstWidth, Aim::cheapest});
}

bool Exact::may_descend() const {
  return pricing_.cheapest() && !pricing_.by_price() && !pricing_.shares_devices();
}

// That of listed options is there already.
void Exact::make_matrix() {
  if (matrix_ || !StageMatrix::fits(problem_)) return;
  matrix_ =
      stages_.listed() ? stages_.listed()->matrix() : std::make_shared<const StageMatrix>(problem_, *loads_);
}

// Finds the best plan of an interval, given its promising stages, whose stages take no longer than `high`.
void Exact::descend(Interval& interval, const std::vector<Arc>& stages, double high) {
  const ListedStages* const listed = stages_.listed();
  const bool by_lines = listed && listed->by_lines();
  Descent descent(problem_, by_lines ? listed->most_options() : kMaxDevices);
  if (by_lines)
    descent.begin(
        stages, [&](int first, int last, int type) { return listed->load(first, last, type); }, interval.low,
        high);
  else if (listed)
    descent.begin(stages, *listed, interval.low, high);
  else if (matrix_)
    descent.begin(
        stages, [&](int first, int last, int type) { return matrix_->load(first, last, type); }, interval.low,
        high);
  else
    descent.begin(stages, *loads_, interval.low, high);
  bool provisioned = true;  // whether plans got devices as good as those found
  while (provisioned && descent.next(most_price(interval), kSlice)) {
    consider(descent.path());
    provisioned = meets(most_price(interval), descent.cost());
  }
  work_ += descent.work();
  interval.bound = std::max(interval.bound, descent.bound() * pricing_.worth(1));
  interval.high = descent.high();
  if (!provisioned) return abandon(interval);
  if (!descent.done()) push(interval);
}

// The same, with all stages in arrays.
void Exact::descend(Interval& interval) {
  MatrixSweep sweep(problem_, *matrix_);
  work_ += 2 * matrix_->stages * problem_.types;
  sweep.reach(interval.high);
  const std::vector<Arc> path = sweep.cheapest_path();
  if (path.empty()) return;
  consider(path);
  double price = problem_.fixed_price;
  for (const Arc& arc : path) price += problem_.price[arc.type] * arc.devices;
  if (!meets(price, problem_.max_price)) return;
  const double most = most_price(interval);
  const std::vector<Arc> stages = sweep.promising(interval.low, most - problem_.fixed_price * interval.low);
  const double high = std::min(interval.high * (1 + kTolerance), most / price);
  if (interval.low < high) descend(interval, stages, high);
}

// What devices may cost for a better plan in the interval, $/hour times seconds.
double Exact::most_price(const Interval& interval) const {
  return (most_cost(interval) + pricing_.fixed(interval.low)) / pricing_.worth(1);
}

// Where stages share no limits, the first plans come with the sweeps over all stages.
void Exact::begin(double low, double high, bool swept) {
  const bool limited = !swept || pricing_.shares_limits();
  for (int stride = problem_.layers / kCoarse; limited && stride > 1; stride /= kFiner)
    try_coarsely(low, high, stride);
  const bool found = to_beat(low) < kInfinity;
  if (!swept || (limited && !found))
    return push(all_plans(low, high, 1, pricing_.cheapest() && found ? Aim::cheapest : Aim::any));
  if (!sweep_) sweep_.emplace(problem_, stages_);
  push({low, longest_stage(high), 0, nullptr, nullptr, no_multipliers(), kFirstWidth, Aim::cheapest});
}

// Makes the stages of an interval that may be on a better plan, as far as the limits that stages share do not
// matter. False where none may, and where they are too many: then the halves of the interval are to be looked
// at instead.
bool Exact::make_graph(Interval& interval) {
  const std::uint64_t before = sweep_->work();
  const auto [low, unit] = pricing_.sweep(interval.low, interval.high);
  const auto most = [&, unit = unit] { return most_cost(interval) / unit; };
  const double cost = interval.tails ? sweep_->from_start(low, interval.high, most(), *interval.tails)
                                     : sweep_->from_start(low, interval.high);
  if (cost < most()) {
    const StageGraph path = sweep_->path();
    consider(path.arcs());
    interval.bound = std::max(interval.bound, unit * (cost + low * problem_.fixed_price));
    if (!closed(interval.bound, interval.low)) make_or_branch(interval, most(), path.arcs());
  }
  work_ += sweep_->work() - before;
  return interval.graph != nullptr;
}

void Exact::make_or_branch(Interval& interval, double most, const std::vector<Arc>& path) {
  const bool narrow = pricing_.by_price() || interval.high <= kNarrow * interval.low;
  if (auto graph = sweep_->promising(most, narrow ? SegmentSweep::kAnyNumber : kManyArcs)) {
    interval.graph = std::make_shared<const StageGraph>(std::move(*graph));
    return;
  }
  interval.tails = std::make_shared<const std::vector<Least>>(sweep_->to_end());
  NodeResult found;
  found.path = path;
  branch_at(interval, branching_time(interval, found));
}

// Plans to begin with, the better the fewer stages are worth a look later on.
void Exact::try_coarsely(double low, double high, int stride) {
  const auto open = std::move(open_);
  const auto abandoned = abandoned_;
  open_.clear();
  const auto restore = [&] {
    open_ = open;
    abandoned_ = abandoned;
  };
  try {
    push(all_plans(low, high, stride, pricing_.cheapest() ? Aim::cheapest : Aim::any));
    for (int nodes = 0; nodes < kCoarseNodes && !open_.empty(); ++nodes) process_first();
  } catch (const Stopped&) {
    restore();
    throw;
  }
  restore();
}

void Exact::consider(const StageGraph& graph, const std::vector<int>& path) { consider(arcs_of(graph, path)); }

void Exact::consider(const std::vector<Arc>& path) {
  const Genes scheme = scheme_of(problem_, path);
  if (std::find(recent_.begin(), recent_.end(), scheme) != recent_.end()) return;
  if (recent_.size() == kRecent) recent_.erase(recent_.begin());
  recent_.push_back(scheme);
  try_scheme(scheme);
}

double Exact::most_cost(const Interval& interval) const {
  double most = pricing_.most() * (1 + kTolerance);
  if (interval.aim == Aim::cheapest) most = std::min(most, to_beat(interval.low) * (1 - kTolerance));
  return most - pricing_.fixed(interval.low);
}

Demand Exact::demand_of(const Interval& interval, const StageGraph& graph) const {
  const bool costs = interval.aim == Aim::cheapest || pricing_.most() < kInfinity;
  return pricing_.demand(graph, interval.low, costs, most_cost(interval));
}

std::shared_ptr<const StageGraph> Exact::narrowed(const StageGraph& graph, const std::vector<char>& marked,
                                                  double time) {
  work_ += graph.size();
  auto narrow = std::make_shared<StageGraph>(graph);
  narrow->narrow(stages_, marked, time);
  return narrow;
}

Exact::NodeResult Exact::bound_node(Interval& interval) {
  NodeResult found;
  found.graph = interval.graph;
  if (interval.high < interval.graph->time())
    found.graph = narrowed(*interval.graph, std::vector<char>(interval.graph->size(), 1), interval.high);
  Demand demand = demand_of(interval, *found.graph);
  const auto visit = [&](const std::vector<int>& path, double cost) {
    found.within = found.within || cost <= demand.most_cost;
    consider(*found.graph, path);
    if (interval.aim == Aim::cheapest) demand.most_cost = most_cost(interval);
  };
  const int steps = interval.multipliers.none() ? kFirstSteps : kLaterSteps;
  Relaxation relaxation{problem_, *found.graph, demand, interval.multipliers, paths_, weight_};
  const LagrangianBound raised = relaxation.raise(steps, visit);
  work_ += found.graph->size() * 10;
  found.bound = raised.bound >= demand.most_cost ? kInfinity : raised.bound;
  if (found.bound == kInfinity || (found.within && interval.aim == Aim::any)) return found;
  found.exact = raised.exact;
  if (found.exact) found.path = arcs_of(*found.graph, raised.path);
  if (!found.exact) relaxation.weigh();
  const auto marked = relaxation.mark_promising();
  found.graph = narrowed(*found.graph, marked, interval.high);
  if (found.exact) return found;
  if (interval.aim == Aim::any || interval.high <= kNarrow * interval.low) set_labels(interval, found);
  return found;
}

void Exact::set_labels(const Interval& interval, NodeResult& found) {
  const Demand demand = demand_of(interval, *found.graph);
  LabelSetting labels(problem_, *found.graph, demand, interval.multipliers, paths_, interval.width);
  const LabelSetting::Answer answer = labels.run();
  work_ += answer.work;
  found.exact = answer.exact;
  found.bound = answer.bound >= demand.most_cost ? kInfinity : std::max(found.bound, answer.bound);
  found.path = arcs_of(*found.graph, answer.path);
  if (answer.path.empty()) return;
  found.within = true;
  consider(*found.graph, answer.path);
}

void Exact::step() {
  const std::uint64_t until = work_ + kSlice;
  do process_next();
  while (!done_ && work_ < until);
}

std::uint64_t Exact::next_work() const {
  if (started_ && open_.front().graph) return open_.front().graph->size() * kArcWork;
  if (started_ || (pricing_.cheapest() && !pricing_.shares_limits()))
    return layers_ * problem_.types * kSweepWork;
  return layers_ * layers_ * problem_.types * kArcWork / 8;
}

void Exact::advance(std::uint64_t work) {
  while (!done_ && work_ + next_work() <= work) process_next();
}

Genes Exact::tried() const {
  Genes schemes = best();
  for (const Genes& scheme : recent_) schemes.insert(schemes.end(), scheme.begin(), scheme.end());
  return schemes;
}

void Exact::process_next() {
  if (started_) {
    process_first();
  } else {
    if (pricing_.most_for_devices() >= 0) start();
    started_ = true;
  }
  finish_if_closed();
}

void Exact::process_first() {
  Interval interval = pop();
  const Interval whole = interval;
  try {
    look_into(interval);
  } catch (const Stopped&) {
    push(whole);
    throw;
  }
}

void Exact::look_into(Interval& interval) {
  if (!pricing_.cheapest()) interval.high = std::min(interval.high, least() * kStep);
  if (interval.low < interval.high && descends_ && matrix_) return descend(interval);
  if (interval.low < interval.high && (interval.graph || make_graph(interval))) {
    if (descends_) return descend(interval, interval.graph->arcs(), interval.high * (1 + kTolerance));
    const NodeResult found = bound_node(interval);
    interval.graph = found.graph;
    if (pricing_.cheapest())
      branch_cost(interval, found);
    else
      branch_time(interval, found);
  }
}

void Exact::branch_cost(Interval& interval, const NodeResult& found) {
  if (interval.aim == Aim::any) {  // whether there is a plan at all
    if (found.bound == kInfinity) return;
    if (!found.within && interval.width < kMostWidth) return increase_width(interval);
    interval.aim = Aim::cheapest;
    interval.width = kFirstWidth;
    interval.multipliers = no_multipliers();
    return push(interval);
  }
  if (found.bound == kInfinity) return;
  interval.bound = std::max(interval.bound, found.bound + pricing_.fixed(interval.low));
  if (closed(interval.bound, interval.low)) return;
  const bool branching_helps = found.path.empty()
                                   ? interval.high > kNarrow * interval.low
                                   : !closed(pricing_.cost(interval.low, found.path), interval.low);
  if (found.exact || branching_helps)
    branch_at(interval, branching_time(interval, found));
  else
    increase_width(interval);
}

// Sets more labels the next time, up to what memory and time bear.
void Exact::increase_width(Interval& interval) {
  interval.width *= kWidthFactor;
  if (interval.width <= kMostWidth)
    push(interval);
  else
    abandon(interval);
}

void Exact::branch_time(Interval& interval, const NodeResult& found) {
  if (found.bound == kInfinity) return;
  interval.high = std::min(interval.high, least() * kStep);
  if (!found.within && !found.exact && interval.high <= kNarrow * interval.low) return increase_width(interval);
  branch_at(interval, (interval.low + interval.high) / 2);
}

// Above which stage time the path found is no better than the best plan; below its own stage time, where it
// needs more devices.
double Exact::branching_time(const Interval& interval, const NodeResult& found) const {
  const double middle = interval.low > 0 ? std::sqrt(interval.low * interval.high) : interval.high / 2;
  if (found.path.empty()) return middle;
  if (pricing_.by_price()) return affordable_time(interval, found.path, middle);
  double slowest = 0, low = interval.low, high = interval.high;
  for (const Arc& arc : found.path) slowest = std::max(slowest, arc.time);
  if (!closed(pricing_.cost(high, found.path), high)) return middle;
  for (int halving = 0; halving < 40; ++halving) {
    const double time = (low + high) / 2;
    (closed(pricing_.cost(time, found.path), time) ? high : low) = time;
  }
  const double time = std::min(high, slowest * kStep);
  return time > interval.low && time < interval.high ? time : middle;
}

// Between the stage time up to which a path costs no more in all than it may and its own, so that both halves
// exclude it: it needs more devices in one, and costs too much in the other.
double Exact::affordable_time(const Interval& interval, const std::vector<Arc>& path, double otherwise) const {
  double slowest = 0;
  for (const Arc& arc : path) slowest = std::max(slowest, arc.time);
  const double affordable = pricing_.affordable_time(path);
  const double time = std::sqrt(slowest * affordable);
  return affordable < slowest && time > interval.low && time < interval.high ? time : otherwise;
}

void Exact::branch_at(const Interval& interval, double time) {
  if (!(interval.low < time && time < interval.high) || meets(interval.high, interval.low))
    return abandon(interval);
  Interval faster = interval, slower = interval;
  faster.high = slower.low = time;
  if (!pricing_.cheapest()) slower.bound = time;
  push(std::move(faster));
  push(std::move(slower));
}

void Exact::push(Interval interval) {
  open_.push_back(std::move(interval));
  std::push_heap(open_.begin(), open_.end(), later);
}

}  // namespace stageplan
