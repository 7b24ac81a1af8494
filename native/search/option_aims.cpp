#include "search/option_aims.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "search/position_path.h"

namespace stageplan {
namespace {

constexpr int kSteps = 256;            // of provisioning
constexpr int kCuts = 16;              // approximate number of cuts in the first search, over all aims
constexpr int kTimes = 40;             // stage times of the first search, over all groups
constexpr int kMinTimes = 4;           // of each group
constexpr int kMaxGroups = 16;         // that are searched
constexpr double kShortest = 0.02;     // ratio of the last of these times to the first
constexpr int kFurther = 4;            // part of them tried beyond the best one, if that is near the last
constexpr double kSlowest = 2;         // ratio of the longest to that of the initial scheme
constexpr double kFillAndDrain = 1.3;  // typical ratio of a plan's time to its slowest stage
constexpr size_t kBest = 6;            // stage times of the second search, with half as far cuts
constexpr size_t kBestFine = 3;        // of the last search, with all cuts
constexpr int kNear = 2;               // rounds of it near the best stage time
constexpr double kNearRatio = 0.93;    // ratio of its first stage time to the best
constexpr int kSchemes = 6;            // for one stage time, with weights from the one before
constexpr int kFineSchemes = 3;        // of them, after the first search
constexpr double kAlike = 1.05;        // ratio of weights that are not told apart
constexpr double kMuchSync = 0.005;    // part of a plan's time above which all-reduce is limited
constexpr double kLessSync = 0.5;      // limit for the next scheme, relative to this one's
constexpr double kPressure = 2;        // factor on the weight of pass time while time or price is broken
constexpr double kScarce = 0.5;        // step of a device multiplier, for an excess of 100 %

const OptionGroup& group_of(const Problem& problem, const OptionAim& aim) {
  return problem.option_lists().options().groups()[aim.group];
}

int first_stride(const Problem& problem) { return std::max(1, problem.layers / kCuts); }

// That with which the cost of a plan of this price and time falls fastest.
double pass_weight(const Problem& problem, double price, double time) {
  return problem.columns->schedule != Schedule::none && time > 0 ? price / time / problem.columns->microbatches
                                                                 : 0;
}

}  // namespace

Genes cheapest_at(const Scorer& scorer, const OptionAim& aim) {
  const OptionTable* const table = scorer.by_options()->table(0, aim.group);
  return table ? cheapest_by_position(scorer.problem(), *table, aim.weights) : Genes();
}

OptionAim aim_of(const Scorer& exact, const std::int8_t* scheme) {
  const Problem& problem = exact.problem();
  std::vector<Stage> stages;
  merge(problem, exact.loads(), scheme, stages);
  Provisioner provisioner(problem);
  const Score score = provisioner.best(stages, kSteps);
  OptionAim aim{};
  double sync = 0;
  for (const Option& option : provisioner.chosen()) {
    aim.time = std::max(aim.time, option.time);
    sync = std::max(sync, option.sync);
  }
  aim.weights.pass = pass_weight(problem, score.price, score.time);
  if (sync > kMuchSync * score.time) aim.weights.sync = sync;
  return aim;
}

OptionAim OptionAims::search(const Genes& scheme) {
  const double slowest = aim_of(exact_, scheme.data()).time;
  for (size_t i = 0; i < schemes_.size(); i += scheme.size()) scores_.push_back(exact_.score(&schemes_[i]));
  best_score_ = exact_.score(scheme.data());
  elites_.add(problem_, best_score_, scheme);
  best_ = {slowest, weights(best_pressure_, best_score_.price, best_score_.time), 0};
  if (!(slowest > 0)) return best_;
  stride_ = first_stride(problem_);
  try_groups(std::min(kSlowest * slowest, problem_.goal_time()));
  stride_ = (stride_ + 1) / 2;
  try_best(kBest);
  try_near();
  stride_ = 1;
  try_best(kBestFine);
  return best_;
}

void OptionAims::try_groups(double longest) {
  const int groups = static_cast<int>(problem_.option_lists().options().groups().size());
  const int tried = std::min(groups, kMaxGroups), times = std::max(kMinTimes, kTimes / tried);
  const double ratio = std::pow(kShortest, 1.0 / (times - 1));
  for (int i = 0; i < tried; ++i) {
    double time = longest;
    Pressure pressure(problem_.types);
    for (int t = 0, best = 0; t < times || t - best <= times / kFurther; ++t, time *= ratio) {
      pressure.pass = 1;
      const OptionWeights first = weights(pressure, best_score_.price, kFillAndDrain * time);
      if (!improve({time, first, i * groups / tried}, pressure)) break;
      if (best_.time == time) best = t;
    }
  }
}

// Again with more cuts: the best stage times so far.
void OptionAims::try_best(size_t count) {
  std::vector<Candidate> tried = std::move(candidates_);
  candidates_.clear();
  std::ranges::stable_sort(
      tried, [&](const Candidate& a, const Candidate& b) { return better(problem_, a.score, b.score); });
  if (tried.size() > count) tried.erase(tried.begin() + static_cast<std::ptrdiff_t>(count), tried.end());
  for (Candidate& one : tried) improve(one.aim, one.pressure);
}

// Steps get smaller if they do not improve.
void OptionAims::try_near() {
  double ratio = kNearRatio;
  for (int round = 0; round < kNear; ++round) {
    const double time = best_.time;
    improve_near(ratio);
    improve_near(1 / ratio);
    if (best_.time == time) ratio = std::sqrt(ratio);
  }
}

void OptionAims::improve_near(double ratio) {
  Pressure pressure = best_pressure_;
  improve({best_.time * ratio, best_.weights, best_.group}, pressure);
}

// Adds the cheapest schemes at a stage time while they improve; each gives the weights for the next. False if
// there is none.
bool OptionAims::improve(OptionAim aim, Pressure& pressure) {
  Score best;
  candidates_.push_back({aim, pressure, {}});
  const bool first = stride_ == first_stride(problem_);
  for (int i = 0; i < (first ? kSchemes : kFineSchemes); ++i) {
    const OptionTable table(problem_, aim.time, group_of(problem_, aim), aim.weights, stride_);
    const Genes scheme = cheapest_by_position(problem_, table, aim.weights, stride_);
    if (scheme.empty()) return i > 0;
    const Score score = keep(aim, pressure, scheme);
    if (better(problem_, score, candidates_.back().score)) candidates_.back() = {aim, pressure, score};
    const Plan plan = plan_at(table, scheme);
    const bool pressed = press(pressure, plan), tighten = plan.sync > kMuchSync * plan.score.time;
    const OptionWeights next = weights(pressure, plan.score.price, plan.score.time);
    const double change = next.pass / aim.weights.pass;
    if (!pressed &&
        (!better(problem_, plan.score, best) || (!tighten && change < kAlike && change * kAlike > 1)))
      return true;
    best = plan.score;
    const double sync = tighten ? kLessSync * plan.sync : aim.weights.sync;
    aim.weights = next;
    aim.weights.sync = sync;
  }
  return true;
}

Score OptionAims::keep(const OptionAim& aim, const Pressure& pressure, const Genes& scheme) {
  for (size_t i = 0; i < schemes_.size(); i += scheme.size())
    if (std::equal(scheme.begin(), scheme.end(), schemes_.begin() + static_cast<std::ptrdiff_t>(i)))
      return scores_[i / scheme.size()];
  const Score score = exact_.score(scheme.data());
  schemes_.insert(schemes_.end(), scheme.begin(), scheme.end());
  scores_.push_back(score);
  elites_.add(problem_, score, scheme);
  if (!better(problem_, score, best_score_)) return score;
  best_ = aim;
  best_pressure_ = pressure;
  best_score_ = score;
  return score;
}

OptionAims::Plan OptionAims::plan_at(const OptionTable& table, const Genes& scheme) {
  merge(problem_, exact_.loads(), scheme.data(), stages_);
  OptionPlan plan(problem_);
  double sync = 0;
  for (size_t s = 0; s < stages_.size(); ++s) {
    const auto& [label, type, first, last, load] = stages_[s];
    const int in_flight = problem_.option_lists().options().in_flight(static_cast<int>(stages_.size() - s));
    const OptionTable::Entry& entry = table.at(table.row(first)[last * problem_.types + type], in_flight);
    sync = std::max(sync, entry.sync);
    plan.add({.devices = entry.devices,
              .column = 0,
              .replicas = 1,
              .time = entry.time,
              .pass = entry.pass,
              .sync = entry.sync,
              .memory = 0,
              .flight = 0,
              .violation = 0},
             type);
  }
  return {plan.score(), sync, plan.rented()};
}

// Updates the multipliers by the limits that a plan breaks; false if it keeps all.
bool OptionAims::press(Pressure& pressure, const Plan& plan) const {
  if (!meets(plan.score.time, problem_.goal_time()))
    pressure.pass *= kPressure;
  else if (!meets(plan.score.price, problem_.max_price))
    pressure.pass /= kPressure;
  for (int t = 0; t < problem_.types; ++t)
    if (const double limit = problem_.limit[t]; limit < kInfinity) {
      const double over = (static_cast<double>(plan.devices[t]) - limit) / std::max(limit, 1.0);
      pressure.devices[t] = std::max(0.0, pressure.devices[t] + kScarce * over);
    }
  return plan.score.violation > 0;
}

OptionWeights OptionAims::weights(const Pressure& pressure, double price, double time) const {
  OptionWeights weights;
  weights.pass = pressure.pass * pass_weight(problem_, price, time);
  const double mean = std::accumulate(problem_.price.begin(), problem_.price.end(), 0.0) / problem_.types;
  for (int t = 0; t < problem_.types; ++t)
    weights.device.push_back(problem_.price[t] + pressure.devices[t] * std::max(problem_.price[t], mean));
  return weights;
}

}  // namespace stageplan
