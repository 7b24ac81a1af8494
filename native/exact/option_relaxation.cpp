#include "exact/option_relaxation.h"

#include <algorithm>
#include <cmath>

#include "common/stop.h"

namespace stageplan {
namespace {

constexpr int kSteps = 24;       // of the subgradient for a weighting
constexpr int kPatience = 3;     // steps without a higher value, after which they get shorter
constexpr double kRise = 0.1;    // to aim at above a value where no plan says how high it can get
constexpr double kAlike = 1.01;  // weightings this close bound alike

}  // namespace

PlanTerms::PlanTerms(const Problem& problem) : fixed_price(problem.fixed_price), limit(problem.limit) {
  const Columns& columns = *problem.columns;
  const bool scheduled = columns.schedule != Schedule::none;
  const double microbatches = columns.microbatches;
  slowest = scheduled ? (microbatches - 1) / microbatches : 1;
  pass = scheduled ? 1 / microbatches : 0;
  for (int t = 0; t < problem.types; ++t) {
    const double machine = columns.machine[t];
    if (columns.whole_machines && machine < kInfinity) limit[t] = std::floor(limit[t] / machine) * machine;
    if (limit[t] >= 1 && limit[t] < kInfinity) limited.push_back(t);
  }
}

OptionRelaxation::OptionRelaxation(const Problem& problem, const PlanTerms& terms, const OptionGraph& graph,
                                   const SlowestRange& range, const Worth& worth, const Positions& positions,
                                   std::vector<Weighting>& weightings)
    : problem_(problem),
      terms_(terms),
      graph_(graph),
      range_(range),
      worth_(worth),
      positions_(positions),
      weightings_(weightings),
      weighed_(weightings.size()),
      through_(kMost * positions_.count) {}

void OptionRelaxation::set_lines(const double* values, double time, double sync, Line* lines) const {
  const double base = terms_.time(time, 0, sync);
  for (size_t i = 0; i < weightings_.size(); ++i) {
    const Weighting& w = weightings_[i];
    lines[i] = {w.time, w.price, values[i] + w.time * base + w.price * terms_.fixed_price};
  }
}

double OptionRelaxation::least_of(const double* values, double time, double sync) const {
  Line lines[kMost];
  set_lines(values, time, sync, lines);
  return least_objective(worth_, lines, static_cast<int>(weightings_.size()));
}

double OptionRelaxation::least() const {
  double values[kMost];
  for (size_t i = 0; i < weightings_.size(); ++i) values[i] = weightings_[i].value;
  return least_of(values, range_.low, range_.sync_low);
}

void OptionRelaxation::raise(int rounds, const Visit& visit) {
  for (int round = 0; round < rounds && least() < kInfinity; ++round)
    if (!refresh_worst(visit)) return;
}

// Whether shortest paths may raise what is known of a weighting.
bool OptionRelaxation::matters(int index) const {
  const bool timed = terms_.pass > 0 || !terms_.limited.empty();
  if (index + 1 == static_cast<int>(weightings_.size())) return timed;
  return index > 0 || !timed || worth_.objective != Objective::throughput || worth_.most_price < kInfinity ||
         worth_.most_cost < kInfinity;
}

// Weighs anew where the bound is least. False where all has been done there.
bool OptionRelaxation::refresh_worst(const Visit& visit) {
  Line lines[kMost];
  double values[kMost];
  for (size_t i = 0; i < weightings_.size(); ++i) values[i] = weightings_[i].value;
  set_lines(values, range_.low, range_.sync_low, lines);
  const int count = static_cast<int>(weightings_.size());
  const int corner = std::max(0, least_corner(worth_, lines, count));
  for (int i : {corner, corner + 1, 0, count - 1}) {
    if (weighed_[i].paths || !matters(i)) continue;
    refresh(i, visit);
    return true;
  }
  if (terms_.pass == 0) return false;
  const double slope = worth_.objective == Objective::cost ? steepness(lines[corner], lines[corner + 1])
                                                           : steepness_at_limit(lines, count);
  if (!(slope > 0 && slope < kInfinity)) return false;
  for (const Weighting& w : weightings_)
    if (w.price > 0 && w.time > 0 && w.time < slope * kAlike && slope < w.time * kAlike) return false;
  if (count == kMost) drop_farthest(slope);
  const auto at = std::find_if(weightings_.begin(), weightings_.end(),
                               [&](const Weighting& w) { return w.price == 0 || w.time > slope; });
  const auto index = at - weightings_.begin();
  weightings_.insert(at, {slope, 1, std::vector<double>(problem_.types), 0});
  weighed_.insert(weighed_.begin() + index, Weighed());
  refresh(static_cast<int>(index), visit);
  return true;
}

// Of the curve of one cost through the corner of two lines; the next weighting that may raise it.
double OptionRelaxation::steepness(const Line& a, const Line& b) {
  const double price = a.value * b.time - b.value * a.time, time = b.value * a.price - a.value * b.price;
  const double steepness = price / time;
  return a.time < steepness && (b.price == 0 || steepness < b.time) ? steepness : 0;
}

// From the cheapest path known that keeps the limit to the one that breaks it least: where the limit of time,
// or of price, meets the highest line.
double OptionRelaxation::steepness_at_limit(const Line* lines, int count) const {
  const bool by_price = worth_.objective == Objective::price;
  const double limit = by_price ? worth_.most_time : worth_.most_price;
  if (limit == kInfinity) return 0;
  int highest = -1;
  double most = -kInfinity;
  for (int i = 0; i < count; ++i) {
    const double own = by_price ? lines[i].price : lines[i].time,
                 other = by_price ? lines[i].time : lines[i].price;
    const double least = own > 0 ? (lines[i].value - other * limit) / own : -kInfinity;
    if (least > most) {
      most = least;
      highest = i;
    }
  }
  if (highest < 0 || !weighed_[highest].paths) return 0;
  const Weighed& at = weighed_[highest];
  const bool breaks = by_price ? at.time > limit : at.price > limit;
  const int next = highest + (breaks == by_price ? 1 : -1);
  if (next < 0 || next >= count || !weighed_[next].paths) return 0;
  return (weighed_[next].price - at.price) / (at.time - weighed_[next].time);
}

// Of the weightings between the ends, the one that is least like a slope.
void OptionRelaxation::drop_farthest(double slope) {
  const auto far = [&](const Weighting& w) { return std::max(w.time / slope, slope / w.time); };
  const auto at = std::max_element(weightings_.begin() + 1, weightings_.end() - 1,
                                   [&](const Weighting& a, const Weighting& b) { return far(a) < far(b); });
  weighed_.erase(weighed_.begin() + (at - weightings_.begin()));
  weightings_.erase(at);
}

// What the least weight of a path has to reach for no plan to count, as far as the weighting alone tells.
double OptionRelaxation::aim(const Weighting& weighting) const {
  const double base = terms_.time(range_.low, 0, range_.sync_low);
  const double product = worth_.most_cost / worth_.cost_scale;
  double aim = kInfinity;
  if (weighting.time == 0) aim = std::min(worth_.most_price, base > 0 ? product / base : kInfinity);
  if (weighting.price == 0)
    aim = std::min(worth_.most_time, terms_.fixed_price > 0 ? product / terms_.fixed_price : kInfinity);
  if (weighting.time > 0 && weighting.price > 0) aim = 2 * std::sqrt(weighting.time * product);
  if (aim < kInfinity) return aim - weighting.time * base - weighting.price * terms_.fixed_price;
  const double scale = std::abs(weighting.value);
  return weighting.value + (scale > 0 ? kRise * scale : 1);
}

double OptionRelaxation::weigh(int index, const std::vector<double>& devices) {
  Weighed& weighed = weighed_[index];
  const Weighting& weighting = weightings_[index];
  weighed.weights = {weighting.time * terms_.pass, weighting.price, devices};
  weighed.allowed = 0;
  for (int t : terms_.limited) weighed.allowed += devices[t] * terms_.limit[t];
  work_ += graph_.size() * positions_.count;
  return weighed.paths->to_end(graph_, weighed.weights) - weighed.allowed;
}

// How many devices of each type a path has above its limit, as a part of it.
std::vector<double> OptionRelaxation::slope(const OptionPath& path, const std::vector<double>& devices) const {
  std::vector<double> slope(problem_.types);
  for (const OptionArc& arc : path) slope[arc.type] += arc.devices;
  for (int t = 0; t < problem_.types; ++t) {
    const double limit = terms_.limit[t];
    slope[t] = limit >= 1 && limit < kInfinity ? slope[t] - limit : 0;
    if (devices[t] == 0 && slope[t] < 0) slope[t] = 0;
  }
  return slope;
}

// Raises the multipliers of a weighting by steps of a subgradient method (Polyak 1969).
void OptionRelaxation::refresh(int index, const Visit& visit) {
  Weighting& weighting = weightings_[index];
  weighed_[index].paths = std::make_unique<OptionPaths>(problem_, positions_);
  std::vector<double> now = weighting.devices, best = now;
  double value = -kInfinity, scale = 1;
  for (int step = 0, stalled = 0; step < kSteps; ++step) {
    check_stop();
    const double found = weigh(index, now);
    if (found == kInfinity || std::isnan(found)) {
      if (found == kInfinity) value = found;
      break;
    }
    stalled = found > value + kTolerance * std::abs(value) || step == 0 ? 0 : stalled + 1;
    if (found > value) {
      value = found;
      best = now;
    }
    const OptionPath path = weighed_[index].paths->path(graph_, weighed_[index].weights);
    const PathSums sums(path);
    weighed_[index].time = terms_.time(range_.low, sums.pass, range_.sync_low);
    weighed_[index].price = terms_.fixed_price + sums.price;
    visit(path);
    const std::vector<double> above = slope(path, now);
    double norm = 0;
    for (int t : terms_.limited) norm += above[t] * above[t] / (terms_.limit[t] * terms_.limit[t]);
    weighting.value = std::max(weighting.value, value);
    const double room = aim(weighting) - found;
    if (norm == 0 || room <= 0) break;
    if (stalled == kPatience) {
      stalled = 0;
      scale /= 2;
    }
    for (int t : terms_.limited)
      now[t] = std::max(0.0, now[t] + scale * room * above[t] / (terms_.limit[t] * terms_.limit[t]) / norm);
  }
  weighting.devices = best;
  weighting.value = std::max(weighting.value, value);
  if (value < kInfinity && best != weighed_[index].weights.devices) weigh(index, best);
}

void OptionRelaxation::look_back() {
  for (Weighed& weighed : weighed_) {
    if (!weighed.paths) continue;
    weighed.paths->from_start(graph_, weighed.weights);
    work_ += graph_.size() * positions_.count;
  }
  Line lines[kMost];
  double values[kMost];
  for (size_t i = 0; i < weightings_.size(); ++i) values[i] = weightings_[i].value;
  set_lines(values, range_.low, range_.sync_low, lines);
  const Ends ends = worth_.ends(lines[weightings_.size() - 1].value, lines[0].value);
  most_.clear();
  for (const Weighting& w : weightings_) most_.push_back(ends.heaviest(w.time, w.price));
}

// The least weight of the paths through an arc, at any position and at each.
double OptionRelaxation::through(int index, const OptionArc& arc, double* by_position) const {
  const Weighed& weighed = weighed_[index];
  if (!weighed.paths) return weightings_[index].value;
  const double own = weighed.weights(arc) - weighed.allowed;
  const double *before = weighed.paths->before(arc.first, arc.type),
               *after = weighed.paths->after(arc.last + 1, arc.type);
  const auto [nearest, farthest] = positions_.of(arc);
  if (positions_.count == 1) return before[1] + after[1] + own;
  double least = kInfinity;
  for (int p = nearest; p <= farthest; ++p) {
    by_position[p - 1] = before[p] + after[p] + own;
    least = std::min(least, by_position[p - 1]);
  }
  return least;
}

bool OptionRelaxation::narrow(OptionArc& arc) const {
  const int count = static_cast<int>(weightings_.size());
  const double slowest = graph_.first_only() ? range_.low : std::max(range_.low, arc.time);
  const double base = terms_.time(slowest, 0, std::max(range_.sync_low, arc.sync));
  double value[kMost], rest[kMost];
  for (int i = count - 1; i >= 0; --i) {
    const Weighting& w = weightings_[i];
    rest[i] = w.time * base + w.price * terms_.fixed_price;
    value[i] = through(i, arc, &through_[i * static_cast<size_t>(positions_.count)]) + rest[i];
    if (value[i] > most_[i]) return false;
  }
  const double time = value[count - 1], price = value[0];
  const Ends ends = worth_.ends(time, price);
  if (time > ends.longest) return false;
  double most[kMost];
  for (int i = 0; i < count; ++i) {
    most[i] = ends.heaviest(weightings_[i].time, weightings_[i].price);
    if (value[i] > most[i]) return false;
  }
  if (positions_.count == 1) return true;
  for (int i = 0; i < count; ++i)
    if (weighed_[i].paths)
      cut_positions(arc, &through_[i * static_cast<size_t>(positions_.count)], most[i] - rest[i]);
  return true;
}

void OptionRelaxation::cut_positions(OptionArc& arc, const double* by_position, double most) const {
  auto [nearest, farthest] = positions_.of(arc);
  while (by_position[nearest - 1] > most && nearest < farthest) arc.nearest = ++nearest;
  while (by_position[farthest - 1] > most && nearest < farthest) arc.farthest = --farthest;
}

double OptionRelaxation::least_through(const Ending& ending) const {
  double values[kMost];
  for (size_t i = 0; i < weightings_.size(); ++i) {
    values[i] = weightings_[i].value;
    const Weighed& weighed = weighed_[i];
    if (!weighed.paths) continue;
    double value = weighed.weights.time * ending.pass + weighed.weights.price * ending.price - weighed.allowed;
    if (ending.devices)
      for (int t : terms_.limited) value += weighed.weights.devices[t] * ending.devices[t];
    values[i] =
        value + weighed.paths->before(ending.cut, ending.type)[std::min(ending.position, positions_.count)];
  }
  values[0] = std::max(values[0], ending.rent);
  return least_of(values, std::max(range_.low, ending.time), std::max(range_.sync_low, ending.sync));
}

}  // namespace stageplan
