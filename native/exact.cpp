#include "exact.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

namespace stageplan {
namespace {

constexpr int kFirstSteps = 60;   // of the subgradient, where nothing is known of the rents
constexpr int kLaterSteps = 12;   // from those of a wider interval
constexpr double kNarrow = 1.02;  // high / low from which labels are set
constexpr size_t kFirstWidth = 64;
constexpr size_t kWiden = 4;
constexpr size_t kMostWidth = size_t{1} << 14;
constexpr int kCoarse = 16;       // cuts that the first plan may choose from
constexpr int kCoarseLooks = 24;  // intervals of these
constexpr int kFiner = 4;         // times as many for each of the next
constexpr size_t kRecent = 16;
constexpr size_t kManyArcs = size_t{1} << 14;  // of which no graph is made before the interval is narrow
constexpr std::uint64_t kSlice = 1 << 20;      // work of a step
constexpr std::uint64_t kArcWork = 16;         // of an arc in an interval, roughly
constexpr double kStep = 1 - 4 * kTolerance;   // to a stage time that is less by more than a tie
constexpr std::uint64_t kSweepWork = 16;       // of a type at a cut, roughly

// Whether there are limits that stages share, so that one may take what another needs.
bool shares_limits(const Problem& problem) {
  return problem.max_price < kInfinity ||
         std::any_of(
             problem.limit.begin(), problem.limit.end(), [](double x) { return 1 <= x && x < kInfinity; });
}

// No stage takes longer: it computes all layers, and each sends, receives and moves all tensors.
double longest_time(const Problem& problem) {
  double bytes = 0, longest = 0;
  for (const Tensor& tensor : problem.tensors) bytes += tensor.bytes;
  for (int t = 0; t < problem.types; ++t) {
    double time = bytes / problem.bandwidth[t];
    for (size_t i = t; i < problem.compute.size(); i += problem.types)
      time += (problem.compute[i] < kInfinity ? problem.compute[i] : 0) + problem.send[i] + problem.receive[i];
    longest = std::max(longest, time);
  }
  return longest * (1 + kTolerance);
}

}  // namespace

// What takes the least effort comes first, for a plan that it finds may spare the rest.
bool Exact::later(const Interval& a, const Interval& b) {
  if (a.width != b.width) return a.width > b.width;
  return a.bound != b.bound ? a.bound > b.bound : a.low > b.low;
}

Exact::Exact(const Problem& problem, const Genes& initial)
    : ExactSearch(problem, 1), cheapest_(problem.objective == Objective::cost), paths_(problem) {
  if (problem.merge != Merge::adjacent)
    throw std::invalid_argument(
        "method 'exact' needs merge 'adjacent', whose stages are intervals of layers; of merge 'type' only "
        "method 'enumerate' finds the best plan");
  Genes first = initial;
  for (int label = 0; label < problem.labels() && initial.empty(); ++label)
    first.insert(first.end(), layers_, static_cast<std::int8_t>(label));
  score(first);
}

double Exact::open_bound() const {
  double bound = left_;
  for (const Interval& interval : open_) bound = std::min(bound, interval.bound);
  return bound;
}

double Exact::bound() const {
  if (done_) return std::min(least(), left_);
  return std::min(least(), std::max(open_.empty() ? 0 : open_bound(), Search::bound()));
}

bool Exact::closed(double bound) const {
  if (cheapest_ && !meets(bound, problem_.max_cost)) return true;
  return bound == kInfinity || meets(least(), bound);
}

void Exact::finish_if_closed() {
  std::erase_if(open_, [&](const Interval& interval) { return closed(interval.bound); });
  std::make_heap(open_.begin(), open_.end(), later);
  done_ = open_.empty();
}

// All plans whose cuts are multiples of `stride`, and no dearer than the best so far.
Exact::Interval Exact::all_plans(int stride, Aim aim) {
  const double time = problem_.goal_time(), excess = aim == Aim::cheapest ? spare_price() : kInfinity;
  auto graph = std::make_shared<const StageGraph>(problem_, scorer_.loads(), time, stride, excess);
  work_ += graph->size() * kArcWork;
  double slowest = 0;
  for (const Arc& arc : graph->arcs()) slowest = std::max(slowest, arc.time);
  return {0, std::min(time, slowest), 0, graph, nullptr, no_rents(), kFirstWidth, aim};
}

// What a plan may cost more than the work of each layer on the type that is cheapest for it.
double Exact::spare_price() const {
  const std::vector<double> least_price = least_prices(problem_);
  const double most = std::min(least(), problem_.max_cost) * (1 + kTolerance) / problem_.cost_scale();
  return most - std::accumulate(least_price.begin(), least_price.end(), 0.0) * (1 - kTolerance);
}

void Exact::start() {
  started_ = true;
  if (most_price() < 0) {
    done_ = true;
    return;
  }
  const bool limited = shares_limits(problem_);
  for (int stride = problem_.layers / kCoarse; limited && stride > 1; stride /= kFiner) try_coarsely(stride);
  if (cheapest_ && (!limited || least() < kInfinity)) {
    sweep_.emplace(problem_, scorer_.loads());
    const double longest = std::min(problem_.goal_time(), longest_time(problem_));
    push({0, longest, 0, nullptr, nullptr, no_rents(), kFirstWidth, Aim::cheapest});
  } else {
    push(all_plans(1, Aim::any));
  }
  finish_if_closed();
}

// Makes the stages of an interval that may be on a better plan, as far as the limits that stages share do not
// matter. False where none may, and where they are too many: then the halves of the interval are to be looked
// at instead.
bool Exact::make_graph(Interval& interval) {
  const std::uint64_t before = sweep_->work();
  const double cost =
      interval.tails ? sweep_->from_start(interval.low, interval.high, most_cost(interval), *interval.tails)
                     : sweep_->from_start(interval.low, interval.high);
  if (cost < most_cost(interval)) {
    const StageGraph path = sweep_->path();
    consider(path, all_arcs(path));
    interval.bound =
        std::max(interval.bound, problem_.cost_scale() * (cost + interval.low * problem_.fixed_price));
    const size_t most_arcs = interval.high <= kNarrow * interval.low ? SegmentSweep::kAnyNumber : kManyArcs;
    if (closed(interval.bound)) {
    } else if (auto graph = sweep_->promising(most_cost(interval), most_arcs)) {
      interval.graph = std::make_shared<const StageGraph>(std::move(*graph));
    } else {
      interval.tails = std::make_shared<const std::vector<Least>>(sweep_->to_end());
      Finding found;
      found.path = path.arcs();
      split(interval, split_time(interval, found));
    }
  }
  work_ += sweep_->work() - before;
  return interval.graph != nullptr;
}

// Plans to begin with, the better the fewer stages are worth a look later on.
void Exact::try_coarsely(int stride) {
  push(all_plans(stride, cheapest_ ? Aim::cheapest : Aim::any));
  for (int looks = 0; looks < kCoarseLooks && !open_.empty(); ++looks) look_at_first();
  open_.clear();
  left_ = kInfinity;
}

void Exact::consider(const StageGraph& graph, const std::vector<int>& path) {
  const Genes scheme = scheme_of(problem_, graph, path);
  if (std::find(recent_.begin(), recent_.end(), scheme) != recent_.end()) return;
  if (recent_.size() == kRecent) recent_.erase(recent_.begin());
  recent_.push_back(scheme);
  score(scheme);
}

double Exact::most_cost(const Interval& interval) const {
  double most = problem_.max_cost * (1 + kTolerance);
  if (interval.aim == Aim::cheapest) most = std::min(most, least() * (1 - kTolerance));
  return most / problem_.cost_scale() - interval.low * problem_.fixed_price;
}

// $/hour that are left for devices.
double Exact::most_price() const { return problem_.max_price * (1 + kTolerance) - problem_.fixed_price; }

// Where any path within the limits will do, the cost of an arc is what it uses of them, so that the most that
// a path may cost is another limit.
Demand Exact::demand_of(const Interval& interval, const StageGraph& graph) const {
  const bool costs = interval.aim == Aim::cheapest || problem_.max_cost < kInfinity;
  const bool priced = problem_.max_price < kInfinity;
  Demand demand;
  demand.cost.resize(graph.size());
  if (priced && costs) demand.extra.resize(graph.size());
  for (size_t i = 0; i < graph.size(); ++i) {
    const Arc& arc = graph[i];
    const double price = problem_.price[arc.type] * arc.devices;
    if (costs) demand.cost[i] = price * std::max(interval.low, arc.time);
    if (priced && price > 0) (costs ? demand.extra : demand.cost)[i] = price / most_price();
    if (!costs && !priced) demand.cost[i] = problem_.limit_weight()[arc.type] * arc.devices;
  }
  if (costs) {
    demand.most_cost = most_cost(interval);
  } else if (priced) {
    demand.most_cost = kWhole;
  } else {
    demand.most_cost = 0;
    for (double limit : problem_.limit) demand.most_cost += limit >= 1 ? kWhole : 0;
  }
  return demand;
}

std::shared_ptr<const StageGraph> Exact::narrowed(const StageGraph& graph, const std::vector<char>& marked,
                                                  double time) {
  work_ += graph.size();
  return std::make_shared<const StageGraph>(problem_, scorer_.loads(), graph, marked, time);
}

std::vector<Arc> Exact::arcs_of(const StageGraph& graph, const std::vector<int>& path) {
  std::vector<Arc> arcs;
  for (int i : path) arcs.push_back(graph[i]);
  return arcs;
}

Exact::Finding Exact::look(Interval& interval) {
  Finding found;
  found.graph = interval.graph;
  if (interval.high < interval.graph->time())
    found.graph = narrowed(*interval.graph, std::vector<char>(interval.graph->size(), 1), interval.high);
  Demand demand = demand_of(interval, *found.graph);
  const auto visit = [&](const std::vector<int>& path, double cost) {
    found.within = found.within || cost <= demand.most_cost;
    consider(*found.graph, path);
    if (interval.aim == Aim::cheapest) demand.most_cost = most_cost(interval);
  };
  const int steps = interval.rents.none() ? kFirstSteps : kLaterSteps;
  const Raised raised =
      raise_bound(problem_, *found.graph, demand, paths_, interval.rents, weight_, steps, visit);
  work_ += found.graph->size() * 10;
  found.bound = raised.bound >= demand.most_cost ? kInfinity : raised.bound;
  if (found.bound == kInfinity || (found.within && interval.aim == Aim::any)) return found;
  found.exact = raised.exact;
  if (found.exact) found.path = arcs_of(*found.graph, raised.path);
  if (!found.exact) {
    add_rents(problem_, *found.graph, demand, interval.rents, weight_);
    paths_.from_start(*found.graph, weight_);
  }
  const auto marked = mark_promising(*found.graph, demand, interval.rents, weight_, paths_);
  found.graph = narrowed(*found.graph, marked, interval.high);
  if (found.exact) return found;
  if (interval.aim == Aim::any || interval.high <= kNarrow * interval.low) set_labels(interval, found);
  return found;
}

void Exact::set_labels(const Interval& interval, Finding& found) {
  const Demand demand = demand_of(interval, *found.graph);
  LabelSetting labels(problem_, *found.graph, demand, interval.rents, paths_, interval.width);
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
  do look_at_next();
  while (!done_ && work_ < until);
}

std::uint64_t Exact::next_work() const {
  if (started_ && open_.front().graph) return open_.front().graph->size() * kArcWork;
  if (started_ || (cheapest_ && !shares_limits(problem_))) return layers_ * problem_.types * kSweepWork;
  return layers_ * layers_ * problem_.types * kArcWork / 8;
}

void Exact::advance(std::uint64_t work) {
  while (!done_ && work_ + next_work() <= work) look_at_next();
}

Genes Exact::tried() const {
  Genes schemes = best();
  for (const Genes& scheme : recent_) schemes.insert(schemes.end(), scheme.begin(), scheme.end());
  return schemes;
}

void Exact::look_at_next() {
  if (!started_) return start();
  look_at_first();
  finish_if_closed();
}

void Exact::look_at_first() {
  std::pop_heap(open_.begin(), open_.end(), later);
  Interval interval = std::move(open_.back());
  open_.pop_back();
  if (!cheapest_) interval.high = std::min(interval.high, least() * kStep);
  if (interval.low < interval.high && (interval.graph || make_graph(interval))) {
    const Finding found = look(interval);
    interval.graph = found.graph;
    if (cheapest_)
      branch_cost(interval, found);
    else
      branch_time(interval, found);
  }
}

void Exact::branch_cost(Interval& interval, const Finding& found) {
  if (interval.aim == Aim::any) {  // whether there is a plan at all
    if (found.bound == kInfinity) return;
    if (!found.within && interval.width < kMostWidth) return widen(interval);
    interval.aim = Aim::cheapest;
    interval.width = kFirstWidth;
    interval.rents = no_rents();
    return push(interval);
  }
  if (found.bound == kInfinity) return;
  interval.bound =
      std::max(interval.bound, problem_.cost_scale() * (found.bound + interval.low * problem_.fixed_price));
  if (closed(interval.bound)) return;
  const bool split_helps =
      found.path.empty() ? interval.high > kNarrow * interval.low : !closed(cost_at(interval.low, found.path));
  if (found.exact || split_helps)
    split(interval, split_time(interval, found));
  else
    widen(interval);
}

// Sets more labels the next time, up to what memory and time bear.
void Exact::widen(Interval& interval) {
  interval.width *= kWiden;
  if (interval.width <= kMostWidth)
    push(interval);
  else
    left_ = std::min(left_, interval.bound);
}

void Exact::branch_time(Interval& interval, const Finding& found) {
  if (found.bound == kInfinity) return;
  interval.high = std::min(interval.high, least() * kStep);
  if (!found.within && !found.exact && interval.high <= kNarrow * interval.low) return widen(interval);
  split(interval, (interval.low + interval.high) / 2);
}

// $ of a path whose slowest stage takes at least `time`.
double Exact::cost_at(double time, const std::vector<Arc>& path) const {
  double sum = time * problem_.fixed_price;
  for (const Arc& arc : path) sum += problem_.price[arc.type] * arc.devices * std::max(time, arc.time);
  return problem_.cost_scale() * sum;
}

// Above which stage time the path found is no better than the best plan; below its own stage time, where it
// needs more devices.
double Exact::split_time(const Interval& interval, const Finding& found) const {
  const double middle = interval.low > 0 ? std::sqrt(interval.low * interval.high) : interval.high / 2;
  if (found.path.empty()) return middle;
  double slowest = 0, low = interval.low, high = interval.high;
  for (const Arc& arc : found.path) slowest = std::max(slowest, arc.time);
  if (!closed(cost_at(high, found.path))) return middle;
  for (int halving = 0; halving < 40; ++halving) {
    const double time = (low + high) / 2;
    (closed(cost_at(time, found.path)) ? high : low) = time;
  }
  const double time = std::min(high, slowest * kStep);
  return time > interval.low && time < interval.high ? time : middle;
}

void Exact::split(const Interval& interval, double time) {
  if (!(interval.low < time && time < interval.high) || meets(interval.high, interval.low)) {
    left_ = std::min(left_, interval.bound);
    return;
  }
  Interval faster = interval, slower = interval;
  faster.high = slower.low = time;
  if (!cheapest_) slower.bound = time;
  push(std::move(faster));
  push(std::move(slower));
}

void Exact::push(Interval interval) {
  open_.push_back(std::move(interval));
  std::push_heap(open_.begin(), open_.end(), later);
}

}  // namespace stageplan
