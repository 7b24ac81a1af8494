#include "exact/front.h"

#include <algorithm>
#include <cmath>

#include "model/ties.h"

namespace stageplan {
namespace {

constexpr double kSame = 1 + 2 * kTie;  // stage times this close count as equal

}  // namespace

// One half of the gap is for pruned intervals, the other for points left out.
Front::Front(const Problem& problem, std::vector<double> targets, std::optional<double> gap, double fastest,
             const Genes& initial)
    : Exact(problem, initial),
      targets_(std::move(targets)),
      all_(gap.has_value()),
      slack_(std::sqrt(1 + gap.value_or(0))),
      fastest_(fastest) {
  for (auto scheme = initial.begin(); scheme != initial.end(); scheme += static_cast<std::ptrdiff_t>(layers_))
    keep_states({scheme, scheme + static_cast<std::ptrdiff_t>(layers_)});
}

void Front::transfer(State& state) {
  Exact::transfer(state);
  stageplan::transfer(state, problem_, schemes_);
  state.size(known_, sizeof(Known));
  for (Known& known : known_) {
    for (double* number : {&known.time, &known.value}) state(*number);
    state(known.scheme);
    state.check(known.scheme < schemes_.size() && known.scheme % layers_ == 0);
  }
}

const Front::Known* Front::cheapest(double time) const {
  const auto found = std::partition_point(known_.begin(), known_.end(),
                                          [&](const Known& known) { return known.time > time * kSame; });
  return found == known_.end() ? nullptr : &*found;
}

// Adds a plan of the last scheme, unless it is dominated.
void Front::add(double time, double value) {
  const Known* before = cheapest(time);
  if (before != nullptr && meets(before->value, value)) return;
  const auto to = std::partition_point(known_.begin(), known_.end(),
                                       [&](const Known& known) { return known.time >= time; });
  auto from = to;
  while (from != known_.begin() && (from - 1)->value >= value) --from;
  known_.insert(known_.erase(from, to), {time, value, schemes_.size() - layers_});
}

void Front::keep_states(const Genes& scheme) {
  std::vector<Stage> stages;
  merge(problem_, loads(), scheme.data(), stages);
  schemes_.insert(schemes_.end(), scheme.begin(), scheme.end());
  const double fastest = targets_.back();
  Score best;
  Provisioner provisioner(problem_);
  provisioner.visit_all(stages, targets_, fastest / kSame, [&](const Score& score) {
    if (score.violation == 0) add(score.time, objective_of(problem_, score));
    if (better(problem_, score, best)) best = score;
    const Known* known = cheapest(fastest);
    if (known == nullptr) return true;
    return score.time < fastest ? !pricing().by_price() : pricing().worth(fastest) * score.price < known->value;
  });
  keep(scheme.data(), best);
  count(provisioner.looked_at());
}

void Front::try_scheme(const Genes& scheme) {
  ++evaluations_;
  keep_states(scheme);
}

// The fastest target that plans slower than `low` can serve.
double Front::target_for(double low) const {
  if (all_) return std::max(low, targets_.back());
  const auto slower = std::find_if(targets_.rbegin(), targets_.rend(), [&](double t) { return t > low; });
  return slower == targets_.rend() ? low : *slower;
}

double Front::to_beat(double low) const {
  const Known* known = cheapest(target_for(low));
  return known == nullptr ? kInfinity : known->value / slack_;
}

// For hourly prices not swept: the cheapest path at the slowest time says little about other times.
void Front::start() { begin(fastest_ / kSame, targets_.front(), !pricing().by_price()); }

// Halves the targets first: each half has fewer promising stages.
double Front::branching_time(const Interval& interval, const NodeResult& found) const {
  std::vector<double> inside;
  for (double target : targets_)
    if (interval.low * kSame < target && target * kSame < interval.high) inside.push_back(target);
  return inside.empty() ? Exact::branching_time(interval, found) : inside[inside.size() / 2];
}

double Front::bound_of(double target) const {
  const Known* known = cheapest(target);
  const double closed = known == nullptr ? kInfinity : known->value / slack_;
  return std::min(closed, open_bound(target));
}

FrontPoint Front::point(double target) const {
  const Known& known = *cheapest(target);
  const auto scheme = schemes_.begin() + static_cast<std::ptrdiff_t>(known.scheme);
  return {target,
          known.time,
          known.value,
          bound_of(target),
          {scheme, scheme + static_cast<std::ptrdiff_t>(layers_)}};
}

// The times of as few plans as keep the gap: for each one left out, one that is as fast costs little more.
std::vector<double> Front::spread() const {
  const Known *now = cheapest(targets_.front()), *fastest = cheapest(targets_.back());
  std::vector<double> times{now->time};
  while (now < fastest) {
    const double max_value = (++now)->value * slack_;
    while (now < fastest && meets((now + 1)->value, max_value)) ++now;
    times.push_back(now->time);
  }
  return times;
}

std::vector<FrontPoint> Front::points() const {
  std::vector<FrontPoint> points;
  for (double target : all_ ? spread() : targets_) {
    if (cheapest(target) == nullptr) continue;
    FrontPoint next = point(target);
    if (!points.empty() && points.back().time == next.time) points.pop_back();
    points.push_back(std::move(next));
  }
  return points;
}

}  // namespace stageplan
