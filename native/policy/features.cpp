#include "policy/features.h"

#include <algorithm>
#include <limits>

#include "common/elementary.h"

namespace stageplan {
namespace {

constexpr int kKindBits = 8;
constexpr int kLayerNumbers = 4 + kKindBits;
constexpr int kTypeNumbers = 8;
constexpr int kStageNumbers = 4;
constexpr double kCheap = 1;  // preference of an untrained policy for cheap types
constexpr double kStay = 8;   // odds of the previous layer's type over all others together, likewise
constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr int kFirstSteps = 256;  // devices beyond the goal's with which a plan on one type is provisioned

float clipped(double x) { return static_cast<float>(std::clamp(x, -Features::kMost, Features::kMost)); }

// Logarithm of a ratio, 0 if either is not positive.
float log_ratio(double a, double b) { return a > 0 && b > 0 ? clipped(portable::log(a / b)) : 0.0f; }

// For a fraction that may be far above 1.
float damped(double x) { return clipped(portable::log(1 + std::min(x, 1e9))); }

double positive_or_one(double x) { return x > 0 ? x : 1.0; }

// Of the objective, given the best plan on one type.
double scale_of(const Problem& problem, const Score& best) {
  const double objective = objective_of(problem, best);
  if (!problem.plan_cost) return positive_or_one(objective);
  return best.violation > 0 || objective == 0 ? 1.0 : objective;
}

}  // namespace

int Features::shared(int types) { return kLayerNumbers + kTypeNumbers * types; }
int Features::own(int types) { return kStageNumbers + types; }

Features::Features(const Problem& problem)
    : problem_(problem),
      scorer_(problem),
      adjacent_(problem.merge == Merge::adjacent),
      limited_(adjacent_ && problem.limits_devices() && !problem.by_options()),
      needs_(problem.types) {
  set_units();
  stay_ = static_cast<float>(portable::log(kStay * std::max(1, problem.types - 1)));
  singles_.reserve(static_cast<size_t>(problem.layers) * problem.types);
  layers_.resize(static_cast<size_t>(problem.layers) * shared());
  for (int l = 0; l < problem.layers; ++l) {
    for (int t = 0; t < problem.types; ++t) singles_.push_back(make_single(l, t));
    write_layer(l, &layers_[static_cast<size_t>(l) * shared()]);
  }
}

double Features::work(int layer, int type) const {
  return problem_.compute[static_cast<size_t>(layer) * problem_.types + type];
}

// Units from the best plan on one type, and means.
void Features::set_units() {
  const Scorer quick(problem_, kFirstSteps);
  Score best;
  double time = kInfinity;
  for (int label = 0; label < problem_.labels(); ++label) {
    const std::vector<std::int8_t> scheme(problem_.layers, static_cast<std::int8_t>(label));
    const Score score = quick.score(scheme.data());
    if (label > 0 && !better(problem_, score, best)) continue;
    best = score;
    time = problem_.plan_cost ? quick.score_plan(scheme.data()).first.time : score.time;
  }
  time_ = positive_or_one(std::min(time, problem_.goal_time()));
  scale_ = scale_of(problem_, best);
  double cost = 0;
  for (int l = 0; l < problem_.layers; ++l) {
    double least_time = kInfinity, least_cost = kInfinity;
    for (int t = 0; t < problem_.types; ++t) {
      if (work(l, t) == kInfinity) continue;
      least_time = std::min(least_time, work(l, t));
      least_cost = std::min(least_cost, work(l, t) * problem_.price[t]);
      needs_[t] += work(l, t) / time_ / std::max(1.0, problem_.limit[t]);
    }
    mean_size_ += least_time / problem_.layers;
    mean_memory_ += problem_.memory[l] / problem_.layers;
    cost += least_cost / problem_.layers;
  }
  for (double price : problem_.price) mean_price_ += price / problem_.types;
  price_ = positive_or_one(cost / time_);
}

void Features::write_layer(int layer, float* numbers) const {
  const int layers = problem_.layers, kind = problem_.kinds[layer];
  *numbers++ = clipped(2.0 * layer / std::max(1, layers - 1) - 1);
  *numbers++ = clipped(portable::log<double>(layers - layer) / 4);
  double least_time = kInfinity, least_cost = kInfinity;
  for (int t = 0; t < problem_.types; ++t) {
    least_time = std::min(least_time, work(layer, t));
    if (work(layer, t) < kInfinity) least_cost = std::min(least_cost, work(layer, t) * problem_.price[t]);
  }
  *numbers++ = log_ratio(least_time, mean_size_);
  *numbers++ = log_ratio(problem_.memory[layer], mean_memory_);
  for (int bit = 0; bit < kKindBits; ++bit) *numbers++ = kind == 0 ? 0.0f : (kind >> bit & 1) ? 1.0f : -1.0f;
  for (int t = 0; t < problem_.types; ++t, numbers += kTypeNumbers)
    write_type(layer, t, least_time, least_cost, numbers);
}

void Features::write_type(int layer, int type, double least_time, double least_cost, float* numbers) const {
  const double seconds = work(layer, type);
  if (seconds == kInfinity) {
    std::fill_n(numbers, kTypeNumbers, 0.0f);
    return;
  }
  const StageLoads& loads = scorer_.loads();
  const double out = loads(0, layer, type).transfer_time(1);
  const double in = loads(layer, problem_.layers - 1, type).transfer_time(1);
  *numbers++ = 1;
  *numbers++ = log_ratio(seconds, least_time);
  *numbers++ = log_ratio(seconds * problem_.price[type], least_cost);
  *numbers++ = damped((in + out) / time_);
  *numbers++ = clipped(problem_.memory[layer] / problem_.capacity[type]);
  *numbers++ = log_ratio(problem_.price[type], mean_price_);
  *numbers++ = damped(needs_[type]);
  *numbers++ = damped(single(layer, type).price);
}

Features::Single Features::make_single(int layer, int type) const {
  const StageLoad load = scorer_.loads()(layer, layer, type);
  const double devices = devices_for(problem_, load, type, time_).count;
  const int least = least_devices(load, type);
  const double seconds = work(layer, type) < kInfinity ? work(layer, type) : 0;
  const double cost = problem_.price[type] * seconds / time_ / price_;
  return {static_cast<float>(problem_.price[type] * devices / price_), -clipped(kCheap * cost), least,
          stage_violation(problem_, load, type) > 0 || least > problem_.limit[type]};
}

// Transfers do not count: those of a stage that continues are not known yet.
int Features::least_devices(StageLoad load, int type) const {
  if (problem_.by_options()) return 1;
  load.serial_transfer = load.parallel_transfer = 0;
  return devices_for(problem_, load, type, problem_.goal_time()).count;
}

EpisodeState Features::start() const {
  EpisodeState state;
  if (limited_) state.counts.assign(problem_.types, 0);
  return state;
}

void Features::observe(const EpisodeState& state, int layer, float* own, float* prior) const {
  for (int t = 0; t < problem_.types; ++t)
    own[t] = !limited_ || problem_.limit[t] == kInfinity
                 ? 1.0f
                 : clipped((problem_.limit[t] - state.counts[t]) / std::max(1.0, problem_.limit[t]));
  write_stage(state, layer, own + problem_.types);
  const bool close = may_close(state, layer);
  const auto admit = [&](auto may) {
    bool any = false;
    for (int label = 0; label < problem_.labels(); ++label) {
      const bool admitted = usual(state, label) && may(label);
      prior[label] = admitted ? this->prior(state, layer, label) : kNever;
      any = any || admitted;
    }
    return any;
  };
  if (admit([&](int label) {
        return label == state.label ? may_stay(state, layer) : close && may_begin(state, layer, label);
      }))
    return;
  if (!admit([&](int label) { return work(layer, problem_.type_of(label)) < kInfinity; }))
    admit([](int) { return true; });
}

float Features::prior(const EpisodeState& state, int layer, int label) const {
  const float prior = single(layer, problem_.type_of(label)).prior;
  return label == state.label ? prior + stay_ : prior;
}

// Of the open stage: the price of extending it, the idle fraction of its devices' time, and its size.
void Features::write_stage(const EpisodeState& state, int layer, float* numbers) const {
  std::fill_n(numbers, kStageNumbers, 0.0f);
  if (state.label < 0) return;
  const int type = problem_.type_of(state.label);
  const StageLoad now = scorer_.loads()(state.first, layer - 1, type);
  const StageLoad then = scorer_.loads()(state.first, layer, type);
  const int devices = devices_for(problem_, now, type, time_).count;
  const int more = devices_for(problem_, then, type, time_).count - devices;
  numbers[0] = clipped(problem_.price[type] * more / price_);
  numbers[1] = clipped(1 - stage_time(problem_, now, devices) / time_);
  numbers[2] = damped(layer - state.first) / 2;
  numbers[3] = damped(devices) / 2;
}

bool Features::may_stay(const EpisodeState& state, int layer) const {
  const int type = problem_.type_of(state.label);
  if (single(layer, type).impossible) return false;
  if (!adjacent_) return true;
  const StageLoad load = scorer_.loads()(state.first, layer, type);
  if (stage_violation(problem_, load, type) > 0) return false;
  return !limited_ || state.counts[type] + least_devices(load, type) <= problem_.limit[type];
}

// Whether the open stage may end before a layer.
bool Features::may_close(const EpisodeState& state, int layer) const {
  if (!limited_ || state.label < 0) return true;
  const int type = problem_.type_of(state.label);
  const StageLoad load = scorer_.loads()(state.first, layer - 1, type);
  const int devices = devices_for(problem_, load, type, problem_.goal_time()).count;
  return state.counts[type] + devices <= problem_.limit[type];
}

bool Features::may_begin(const EpisodeState& state, int layer, int label) const {
  const int type = problem_.type_of(label);
  const Single& single = this->single(layer, type);
  if (single.impossible) return false;
  if (!limited_) return true;
  const bool again = state.label >= 0 && problem_.type_of(state.label) == type;  // next to the open stage
  return state.counts[type] + single.least + (again ? 1 : 0) <= problem_.limit[type];
}

// The second label of a type is only for a stage that follows one of the first.
bool Features::usual(const EpisodeState& state, int label) const {
  if (!adjacent_ || !problem_.neighbours_may_share_type()) return true;
  return label % 2 == 0 || label == state.label || label == state.label + 1;
}

void Features::choose(EpisodeState& state, int layer, int label) const {
  if (label == state.label) return;
  if (limited_ && state.label >= 0) {
    const int type = problem_.type_of(state.label);
    const StageLoad load = scorer_.loads()(state.first, layer - 1, type);
    state.counts[type] += devices_for(problem_, load, type, problem_.goal_time()).count;
  }
  state.label = label;
  state.first = layer;
}

}  // namespace stageplan
