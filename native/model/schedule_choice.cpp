#include "model/schedule_choice.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "common/stop.h"

namespace stageplan {
namespace {

constexpr int kFewValues = 16;           // pairs of slowest time and all-reduce up to which labels are set
constexpr double kRounding = 1 - 1e-12;  // margin for sums in another order

}  // namespace

const std::vector<int>& ScheduleChoice::choose(std::span<const StageOptions> stages, std::uint64_t max_work) {
  stages_ = stages;
  max_work_ = max_work;
  work_ = 0;
  stage_violation_ = excess(count(), columns_.max_stages);
  for (const StageOptions& stage : stages) stage_violation_ += stage.options.front().violation;
  allowed_.resize(count());
  collect_values();
  if (in_reach()) {
    run(Aim::best, problem_.goal_time());
  } else {
    run(Aim::fewest, best_.objective);
  }
  return best_choice_;
}

// Collects the values that the maximum over the stages may have.
void ScheduleChoice::collect_values() {
  const auto collect = [&](double Option::* member, std::vector<double>& values) {
    values.clear();
    double least = 0;
    for (const StageOptions& stage : stages_) {
      double fastest = kInfinity;
      for (const Option& option : stage.options) {
        values.push_back(option.*member);
        fastest = std::min(fastest, option.*member);
      }
      least = std::max(least, fastest);
    }
    std::erase_if(values, [&](double value) { return value < least; });
    std::sort(values.begin(), values.end());
    values.erase(std::unique(values.begin(), values.end()), values.end());
  };
  collect(&Option::time, slows_);
  collect(&Option::sync, syncs_);
}

// Whether the goal's time can be reached; leaves such a plan, or the fastest one, as the best choice.
bool ScheduleChoice::in_reach() {
  allow({0, static_cast<int>(slows_.size()) - 1, 0, static_cast<int>(syncs_.size()) - 1, {}});
  best_choice_ = fastest_;
  plan_.clear();
  for (int s = 0; s < count(); ++s) plan_.add(option(s, fastest_[s]), stages_[s].type);
  if (meets(plan_.time(), problem_.goal_time())) return true;
  run(Aim::fastest, kInfinity);
  return meets(best_.objective, problem_.goal_time());
}

bool ScheduleChoice::later(const Box& a, const Box& b) {
  return std::pair(a.bound.violation, a.bound.objective) > std::pair(b.bound.violation, b.bound.objective);
}

void ScheduleChoice::run(Aim aim, double max_time) {
  aim_ = aim;
  max_time_ = max_time;
  best_ = {kInfinity, kInfinity};
  consider(choice_ = best_choice_);
  boxes_.clear();
  push({0, static_cast<int>(slows_.size()) - 1, 0, static_cast<int>(syncs_.size()) - 1, {0, 0}});
  while (!boxes_.empty() && complete()) {
    check_stop_often();
    std::pop_heap(boxes_.begin(), boxes_.end(), &ScheduleChoice::later);
    const Box box = boxes_.back();
    boxes_.pop_back();
    if (promising(box.bound)) visit(box);
  }
}

void ScheduleChoice::push(const Box& box) {
  boxes_.push_back(box);
  std::push_heap(boxes_.begin(), boxes_.end(), &ScheduleChoice::later);
}

void ScheduleChoice::visit(Box box) {
  if (!allow(box)) return;
  weight_ = 0;
  if (!promising(bound(box))) return;
  consider(least_);
  consider(fastest_);
  if (aim_ != Aim::fastest) {
    try_hull(box);
    sums_.line = 0;
    for (int s = 0; s < count() && weight_ > 0; ++s) sums_.line += line(s);
  }
  box.bound = bound(box);
  if (!promising(box.bound)) return;
  const int pairs = (box.slow_to - box.slow_from + 1) * (box.sync_to - box.sync_from + 1);
  if (aim_ != Aim::fastest && pairs <= kFewValues)
    set_labels(box);
  else if (pairs > 1)
    divide(box);
}

// Collects the options that a box allows; returns false if a stage has none.
bool ScheduleChoice::allow(const Box& box) {
  const double slowest = slows_[box.slow_to], sync = syncs_[box.sync_to];
  least_.assign(count(), -1);
  fastest_.assign(count(), -1);
  sums_ = {};
  for (int s = 0; s < count(); ++s) {
    const std::vector<Option>& options = stages_[s].options;
    work_ += options.size();
    allowed_[s].clear();
    int &least = least_[s], &fastest = fastest_[s];
    for (int i = 0; i < static_cast<int>(options.size()); ++i) {
      const Option& now = options[i];
      if (now.time > slowest || now.sync > sync) continue;
      allowed_[s].push_back(i);
      if (least < 0 || (now.devices == options[least].devices && now.pass < options[least].pass)) least = i;
      if (fastest < 0 || now.pass < options[fastest].pass) fastest = i;
    }
    if (least < 0) return false;
    sums_.price += price(s, options[least]);
    sums_.pass += options[fastest].pass;
  }
  return true;
}

ScheduleChoice::Value ScheduleChoice::bound(const Box& box) {
  plan_.clear();
  for (int s = 0; s < count(); ++s) plan_.add(option(s, least_[s]), stages_[s].type);
  const double broken = aim_ == Aim::best ? limit_violation(problem_, plan_.rented().data()) : 0;
  return bound({fixed_price(), 0, slows_[box.slow_from], syncs_[box.sync_from], -1, -1}, sums_, broken);
}

// Bound of a partial plan whose other stages are bounded by `rest`.
ScheduleChoice::Value ScheduleChoice::bound(const Label& done, const Sums& rest, double broken) const {
  const auto time = [&](double pass) { return plan_time(columns_, done.slowest, done.pass + pass, done.sync); };
  double least_time = time(rest.pass);
  if (!meets(least_time, max_time_)) return {kInfinity, kInfinity};
  if (aim_ == Aim::fastest) return {0, least_time};
  double price = rest.price, costly_price = rest.price, cheap_time = least_time;  // at both ends of the line
  if (weight_ > 0) {
    const double max_pass = columns_.microbatches * (max_time_ * (1 + kTolerance) - done.sync) -
                            (columns_.microbatches - 1) * done.slowest - done.pass;
    price = std::max(price, (rest.line - max_pass) / weight_);
    costly_price = std::max(price, (rest.line - rest.pass) / weight_);
    cheap_time = time(std::max(rest.pass, rest.line - weight_ * price));
    const double price_left = problem_.max_price * (1 + kTolerance) - done.price;
    if (meets(best_.violation, stage_violation_) && price_left < costly_price) {
      costly_price = std::max(price, price_left);
      least_time = time(std::max(rest.pass, rest.line - weight_ * costly_price));
    }
  }
  if (aim_ == Aim::fewest) return {0, done.price + price};
  const double cost = problem_.cost_scale() *
                      std::min((done.price + price) * cheap_time, (done.price + costly_price) * least_time);
  Score least = price_plan(problem_, least_time, done.price + price, broken, stage_violation_);
  least.violation += excess(cost, problem_.max_cost) - excess(least.cost, problem_.max_cost);
  least.cost = cost;
  return {least.violation, objective_of(problem_, least)};
}

// The lower hull of a stage's allowed options, from the cheapest to the fastest.
void ScheduleChoice::find_edges(int stage) {
  const auto ratio = [](const Corner& a, const Corner& b) { return (a.pass - b.pass) / (b.price - a.price); };
  hull_.clear();
  for (const int i : allowed_[stage]) {
    const Corner next{price(stage, option(stage, i)), option(stage, i).pass, i};
    if (!hull_.empty() && next.pass >= hull_.back().pass) continue;
    if (!hull_.empty() && next.price <= hull_.back().price) hull_.pop_back();
    while (hull_.size() > 1 && ratio(hull_[hull_.size() - 2], hull_.back()) <= ratio(hull_.back(), next))
      hull_.pop_back();
    hull_.push_back(next);
  }
  choice_[stage] = hull_.front().option;
  for (size_t i = 1; i < hull_.size(); ++i)
    edges_.push_back({ratio(hull_[i - 1], hull_[i]), hull_[i].price - hull_[i - 1].price,
                      hull_[i].pass - hull_[i - 1].pass, stage, hull_[i].option});
}

// Follows the lower hull of all sums from the cheapest plan to the fastest: the best corner is a candidate
// plan, and the edge that leads to it (or from it, if the objective is speed) gives the line below all plans.
void ScheduleChoice::try_hull(const Box& box) {
  edges_.clear();
  choice_.resize(count());
  for (int s = 0; s < count(); ++s) find_edges(s);
  if (edges_.empty()) return;
  std::sort(edges_.begin(), edges_.end(), [](const Edge& a, const Edge& b) {
    return std::tuple(-a.ratio, a.stage, a.option) < std::tuple(-b.ratio, b.stage, b.option);
  });
  Label at{fixed_price(), 0, slows_[box.slow_from], syncs_[box.sync_from], -1, -1};
  for (int s = 0; s < count(); ++s) {
    at.price += price(s, option(s, choice_[s]));
    at.pass += option(s, choice_[s]).pass;
  }
  size_t corner = 0;  // edges before it
  Value best = corner_value(at);
  for (size_t i = 0; i < edges_.size(); ++i) {
    at.price += edges_[i].price;
    at.pass += edges_[i].pass;
    if (const Value now = corner_value(at); improves(now, best)) {
      best = now;
      corner = i + 1;
    }
  }
  for (size_t i = 0; i < corner; ++i) choice_[edges_[i].stage] = edges_[i].option;
  consider(choice_);
  const bool from_there = corner == 0 || (problem_.objective == Objective::throughput && aim_ == Aim::best);
  weight_ = edges_[std::min(from_there ? corner : corner - 1, edges_.size() - 1)].ratio;
}

// The value of a plan with these sums, limits on devices left out.
ScheduleChoice::Value ScheduleChoice::corner_value(const Label& at) const {
  const double time = plan_time(columns_, at.slowest, at.pass, at.sync);
  const double late = excess(time, max_time_);
  if (aim_ == Aim::fewest) return {late, at.price};
  const Score score = price_plan(problem_, time, at.price, 0, late);
  return {score.violation, objective_of(problem_, score)};
}

// The least weight_ * price + pass of a stage.
double ScheduleChoice::line(int stage) const {
  double least = kInfinity;
  for (const int i : allowed_[stage])
    least = std::min(least, weight_ * price(stage, option(stage, i)) + option(stage, i).pass);
  return least * kRounding;
}

void ScheduleChoice::divide(const Box& box) {
  const double slow = (columns_.microbatches - 1) * (slows_[box.slow_to] - slows_[box.slow_from]);
  const double sync = columns_.microbatches * (syncs_[box.sync_to] - syncs_[box.sync_from]);
  const bool by_slow = slow >= sync && box.slow_to > box.slow_from;
  const std::vector<double>& values = by_slow ? slows_ : syncs_;
  Box low = box, high = box;
  int &from = by_slow ? high.slow_from : high.sync_from, &to = by_slow ? low.slow_to : low.sync_to;
  const double middle = (values[from] + values[to]) / 2;
  const auto first = values.begin() + from;
  int size = static_cast<int>(std::upper_bound(first, values.begin() + to, middle) - first);
  size = std::clamp(size, 1, to - from);
  to = from + size - 1;
  from += size;
  push(low);
  push(high);
}

void ScheduleChoice::set_labels(const Box& box) {
  find_rests();
  levels_.resize(count() + 1);
  levels_[0] = {{fixed_price(), 0, slows_[box.slow_from], syncs_[box.sync_from], -1, -1}};
  counts_.assign(counted_.size(), 0);
  const bool by_sums_alone = counted_.empty() && box.slow_from == box.slow_to && box.sync_from == box.sync_to;
  for (int s = 0; s < count() && complete(); ++s) {
    check_stop_often();
    extend(s);
    drop_dominated(by_sums_alone);
    levels_[s + 1].swap(next_);
    counts_.swap(next_counts_);
  }
  if (complete())
    for (size_t i = 0; i < levels_[count()].size(); ++i) consider_label(i);
}

// Lower bounds of the stages from each one to the end, and the types whose limits may be exceeded.
void ScheduleChoice::find_rests() {
  std::vector<std::int64_t> max_devices(problem_.types);
  for (int s = 0; s < count(); ++s) {
    int devices = 0;
    for (const int i : allowed_[s]) devices = std::max(devices, option(s, i).devices);
    max_devices[stages_[s].type] += devices;
  }
  counted_.clear();
  slot_.assign(problem_.types, -1);
  for (int t = 0; t < problem_.types && aim_ == Aim::best; ++t) {
    const bool rounded = columns_.whole_machines && columns_.machine[t] < kInfinity && columns_.machine[t] > 1;
    if (max_devices[t] == 0 || (!rounded && static_cast<double>(max_devices[t]) <= problem_.limit[t])) continue;
    slot_[t] = static_cast<int>(counted_.size());
    counted_.push_back(t);
  }
  rests_.assign(count() + 1, {});
  rest_counts_.assign((count() + 1) * counted_.size(), 0);
  for (int s = count() - 1; s >= 0; --s) {
    const Option& least = option(s, least_[s]);
    rests_[s] = {rests_[s + 1].price + price(s, least), rests_[s + 1].pass + option(s, fastest_[s]).pass,
                 rests_[s + 1].line + (weight_ > 0 ? line(s) : 0)};
    for (size_t c = 0; c < counted_.size(); ++c)
      rest_counts_[s * counted_.size() + c] = rest_counts_[(s + 1) * counted_.size() + c];
    if (const int slot = slot_[stages_[s].type]; slot >= 0)
      rest_counts_[s * counted_.size() + slot] += least.devices;
  }
}

// Lower bound of the violation of the limits on counted types.
double ScheduleChoice::broken(const int* counts, const int* rest) const {
  double violation = 0;
  for (size_t c = 0; c < counted_.size(); ++c)
    violation +=
        std::max(0.0, counts[c] + rest[c] - problem_.limit[counted_[c]]) * problem_.limit_weight()[counted_[c]];
  return violation;
}

// Extends the labels before a stage by its options.
void ScheduleChoice::extend(int stage) {
  const std::vector<Label>& labels = levels_[stage];
  const size_t width = counted_.size();
  const int slot = slot_[stages_[stage].type];
  const int* const rest = rest_counts_.data() + (stage + 1) * width;
  next_.clear();
  next_counts_.clear();
  for (size_t l = 0; l < labels.size() && complete(); ++l) {
    work_ += allowed_[stage].size();
    for (const int i : allowed_[stage]) {
      const Option& now = option(stage, i);
      const Label label{
          labels[l].price + price(stage, now), labels[l].pass + now.pass, std::max(labels[l].slowest, now.time),
          std::max(labels[l].sync, now.sync),  static_cast<int>(l),       i};
      next_counts_.insert(next_counts_.end(), counts_.begin() + static_cast<std::ptrdiff_t>(l * width),
                          counts_.begin() + static_cast<std::ptrdiff_t>((l + 1) * width));
      int* const counts = next_counts_.data() + next_.size() * width;
      if (slot >= 0) counts[slot] += now.devices;
      if (promising(bound(label, rests_[stage + 1], broken(counts, rest))))
        next_.push_back(label);
      else
        next_counts_.resize(next_.size() * width);
    }
  }
}

bool ScheduleChoice::dominates(size_t a, size_t b) const {
  const Label &one = next_[a], &other = next_[b];
  if (one.price > other.price || one.pass > other.pass || one.slowest > other.slowest || one.sync > other.sync)
    return false;
  const size_t width = counted_.size();
  for (size_t c = 0; c < width; ++c)
    if (next_counts_[a * width + c] > next_counts_[b * width + c]) return false;
  return true;
}

void ScheduleChoice::drop_dominated(bool by_sums_alone) {
  order_.resize(next_.size());
  std::iota(order_.begin(), order_.end(), 0);
  std::sort(order_.begin(), order_.end(), [&](int a, int b) {
    const Label &one = next_[a], &other = next_[b];
    return std::tuple(one.price, one.pass, one.slowest, one.sync, a) <
           std::tuple(other.price, other.pass, other.slowest, other.sync, b);
  });
  size_t kept = 0;
  for (const int label : order_) {
    if (!complete()) break;
    const auto begin = order_.begin(), end = order_.begin() + static_cast<std::ptrdiff_t>(kept);
    if (!by_sums_alone) work_ += kept;
    const bool worse = by_sums_alone
                           ? kept > 0 && next_[end[-1]].pass <= next_[label].pass
                           : std::any_of(begin, end, [&](int other) { return dominates(other, label); });
    if (!worse) order_[kept++] = label;
  }
  const size_t width = counted_.size();
  kept_.clear();
  kept_counts_.clear();
  for (size_t i = 0; i < kept; ++i) {
    kept_.push_back(next_[order_[i]]);
    const auto from = next_counts_.begin() + static_cast<std::ptrdiff_t>(order_[i] * width);
    kept_counts_.insert(kept_counts_.end(), from, from + static_cast<std::ptrdiff_t>(width));
  }
  next_.swap(kept_);
  next_counts_.swap(kept_counts_);
}

void ScheduleChoice::consider_label(size_t label) {
  choice_.resize(count());
  for (int s = count(); s > 0; --s) {
    choice_[s - 1] = levels_[s][label].option;
    label = levels_[s][label].parent;
  }
  consider(choice_);
}

void ScheduleChoice::consider(const std::vector<int>& choice) {
  plan_.clear();
  for (int s = 0; s < count(); ++s) plan_.add(option(s, choice[s]), stages_[s].type);
  const Score score = plan_.score();
  Value now{0, score.time};
  if (aim_ != Aim::fastest && !meets(score.time, max_time_)) return;
  if (aim_ == Aim::fewest) {
    now.objective = 0;
    for (int s = 0; s < count(); ++s) now.objective += option(s, choice[s]).devices;
  } else if (aim_ == Aim::best) {
    now = {score.violation, objective_of(problem_, score)};
  }
  if (!promising(now)) return;
  best_ = now;
  best_choice_ = choice;
}

bool ScheduleChoice::improves(const Value& now, const Value& best) {
  if (!meets(best.violation, now.violation)) return true;
  if (!meets(now.violation, best.violation)) return false;
  return !meets(best.objective, now.objective);
}

}  // namespace stageplan
