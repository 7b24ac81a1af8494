#include "search/window_search.h"

#include <algorithm>

#include "common/stop.h"
#include "search/perturb.h"

namespace stageplan {
namespace {

constexpr double kHeavy = 1e6;  // penalty of one unsupported layer, in devices of the most expensive type
constexpr double kRise = 1.2, kFall = 0.9, kMinWeight = 0.05, kMaxWeight = 100;  // of the weight

}  // namespace

WindowSearch::WindowSearch(const Problem& problem)
    : problem_(problem),
      loads_(problem),
      layers_(problem.layers),
      apart_(!problem.neighbours_may_share_type()),
      limited_(problem.limits_devices()),
      heavy_(kHeavy * *std::max_element(problem.price.begin(), problem.price.end())),
      work_(static_cast<size_t>(layers_ + 1) * problem.types),
      ends_(layers_),
      least_(static_cast<size_t>(layers_) * (layers_ + 1) / 2),
      choices_(least_.size()),
      counts_(problem.types),
      tails_(layers_),
      tail_values_(layers_),
      marked_(layers_) {
  for (size_t i = 0; i < problem.compute.size(); ++i) {
    const double seconds =
        problem.compute[i] < kInfinity ? problem.compute[i] * problem.compute_parallel[i] : 0;
    work_[i + problem.types] = work_[i] + seconds * problem.price[i % problem.types];
  }
}

void WindowSearch::transfer(State& state) {
  state(weight_);
  state.check(kMinWeight <= weight_ && weight_ <= kMaxWeight);
}

void WindowSearch::aim(double time) {
  time_ = time;
  rate_ = (1 - 1e-6) / time;
  for (int first = 0; first < layers_; ++first) ends_[first] = first;
}

WindowSearch::PricedStage WindowSearch::stage(int first, int last, int type) const {
  const StageLoad load = loads_(first, last, type);
  const Devices devices = devices_for(problem_, load, type, time_);
  double violation = stage_violation(problem_, load, type);
  if (!devices.reached) violation += excess(stage_time(problem_, load, devices.count), time_);
  return {first, type, problem_.price[type] * devices.count + heavy_ * violation, devices.count};
}

// Prepares all runs within first..last; most of the search time is spent here.
void WindowSearch::prepare(int first, int last) {
  for (int row = first; row <= last && ends_[row] <= last; ++row) {
    check_stop_often(last + 1 - ends_[row]);
    extend_row(row, last);
  }
}

// Only the least price of each run, since few runs are needed in detail. The cheapest type of a run is often
// that of the run one layer shorter: that type is tried first, and types whose work alone costs more are
// skipped.
void WindowSearch::extend_row(int first, int last) {
  int likely = 0;
  for (int& end = ends_[first]; end <= last; ++end) {
    double least = stage(first, end, likely).price;
    for (int type = 0; type < problem_.types; ++type) {
      if (least_price(first, end, type) >= least) continue;
      const double now = stage(first, end, type).price;
      if (now >= least) continue;
      least = now;
      likely = type;
    }
    least_[at(first, end)] = least;
    choices_[at(first, end)][0].type = kUnknown;
  }
}

// A lower bound of what the layers cost on a type.
double WindowSearch::least_price(int first, int last, int type) const {
  const size_t types = problem_.types;
  return (work_[(last + 1) * types + type] - work_[first * types + type]) * rate_;
}

WindowSearch::Choices& WindowSearch::choices(int first, int last) {
  Choices& choices = choices_[at(first, last)];
  if (choices[0].type != kUnknown) return choices;
  choices.fill({first, -1, kInfinity, 0});
  for (int type = 0; type < problem_.types; ++type) {
    if (least_price(first, last, type) >= choices.back().price) continue;
    const PricedStage now = stage(first, last, type);
    int place = kChoices;
    for (; place > 0 && now.price < choices[place - 1].price; --place)
      if (place < kChoices) choices[place] = choices[place - 1];
    if (place < kChoices) choices[place] = now;
  }
  return choices;
}

void WindowSearch::load(const Genes& scheme) {
  stages_.clear();
  std::fill(counts_.begin(), counts_.end(), 0.0);
  for (int first = 0, last; first < layers_; first = last + 1) {
    for (last = first; last + 1 < layers_ && scheme[last + 1] == scheme[first];) ++last;
    stages_.push_back(stage(first, last, problem_.type_of(scheme[first])));
    counts_[stages_.back().type] += stages_.back().devices;
  }
}

// Neighbouring stages of one type alternate between its labels.
Genes WindowSearch::scheme() const {
  Genes scheme(layers_);
  const int labels = problem_.labels() / problem_.types;
  int turn = 0;
  for (size_t s = 0; s < stages_.size(); ++s) {
    turn = s > 0 && stages_[s].type == stages_[s - 1].type ? 1 - turn : 0;
    const int end = s + 1 < stages_.size() ? stages_[s + 1].first : layers_;
    std::fill(scheme.begin() + stages_[s].first, scheme.begin() + end,
              static_cast<std::int8_t>(stages_[s].type * labels + turn));
  }
  return scheme;
}

double WindowSearch::excess_price(int type, double devices) const {
  return std::max(0.0, devices - problem_.limit[type]) * problem_.price[type];
}

double WindowSearch::value() const {
  double value = problem_.fixed_price;
  for (const PricedStage& stage : stages_) value += stage.price;
  if (limited_)
    for (int type = 0; type < problem_.types; ++type) value += weight_ * excess_price(type, counts_[type]);
  return value;
}

// The value that a stage adds to those counted.
double WindowSearch::penalized(const PricedStage& stage) const {
  if (!limited_) return stage.price;
  const double count = counts_[stage.type];
  return stage.price +
         weight_ * (excess_price(stage.type, count + stage.devices) - excess_price(stage.type, count));
}

// The best choice whose type is neither of these.
const WindowSearch::PricedStage* WindowSearch::pick(int first, int last, int not_this, int nor_this) {
  const PricedStage* best = nullptr;
  double least = kInfinity;
  for (const PricedStage& choice : choices(first, last)) {
    if (choice.price >= least) break;
    if (choice.type == not_this || choice.type == nor_this) continue;
    if (const double now = penalized(choice); now < least) {
      least = now;
      best = &choice;
    }
  }
  return best;
}

// Tries stages in place of the window.
void WindowSearch::consider(std::span<const PricedStage* const> stages) {
  double value = 0;
  for (const PricedStage* stage : stages) {
    value += penalized(*stage);
    counts_[stage->type] += stage->devices;
  }
  for (const PricedStage* stage : stages) counts_[stage->type] -= stage->devices;
  if (value >= best_value_) return;
  best_value_ = value;
  best_.clear();
  for (const PricedStage* stage : stages) best_.push_back(*stage);
}

void WindowSearch::count(int left, int right, int times) {
  for (int s = left; s <= right; ++s) counts_[stages_[s].type] += times * stages_[s].devices;
}

// Replaces left..right by one, two or three better stages; returns false if there are none.
bool WindowSearch::improve(int left, int right) {
  const int size = static_cast<int>(stages_.size());
  const int first = stages_[left].first, last = right + 1 < size ? stages_[right + 1].first - 1 : layers_ - 1;
  const int before = apart_ && left > 0 ? stages_[left - 1].type : -1;
  const int behind = apart_ && right + 1 < size ? stages_[right + 1].type : -1;
  prepare(first, last);
  best_.clear();
  best_value_ = kInfinity;
  count(left, right, -1);
  const PricedStage* now[kWidest];
  for (int s = left; s <= right; ++s) now[s - left] = &stages_[s];
  consider({now, now + right - left + 1});
  best_.clear();
  best_value_ *= 1 - kTolerance;
  if (const PricedStage* whole = pick(first, last, before, behind)) consider({&whole, &whole + 1});
  for (int from = first + 1; from <= last; ++from) {
    tails_[from] = pick(from, last, -1, behind);
    tail_values_[from] = tails_[from] ? penalized(*tails_[from]) : kInfinity;
  }
  for (int end = first; end < last; ++end)
    if (const PricedStage* head = pick(first, end, before, -1)) divide(*head, end, last, behind);
  count(left, right, 1);
  if (best_.empty()) return false;
  replace(left, right);
  return true;
}

// All continuations after a first stage that ends at `end`: one stage up to the last layer, or two.
void WindowSearch::divide(const PricedStage& head, int end, int last, int behind) {
  const double value = penalized(head);
  const int type = apart_ ? head.type : -1;
  if (value + least_[at(end + 1, last)] < best_value_)
    if (const PricedStage* rest = pick(end + 1, last, type, behind)) consider(std::array{&head, rest});
  const double* const middles = &least_[at(end + 1, 0)];
  for (int from = end + 2; from <= last; ++from) {
    if (value + middles[from - 1] + tail_values_[from] >= best_value_) continue;
    const PricedStage* tail = tails_[from];
    if (const PricedStage* middle = pick(end + 1, from - 1, type, apart_ ? tail->type : -1))
      consider(std::array{&head, middle, tail});
  }
  looked_at_ += last - end;
}

void WindowSearch::replace(int left, int right) {
  count(left, right, -1);
  for (const PricedStage& stage : best_) counts_[stage.type] += stage.devices;
  stages_.erase(stages_.begin() + left, stages_.begin() + right + 1);
  stages_.insert(stages_.begin() + left, best_.begin(), best_.end());
  mark(left, left + static_cast<int>(best_.size()) - 1);
}

// Marks the first stages of the windows that contain or touch these stages.
void WindowSearch::mark(int left, int right) {
  const int to = std::min(right + 1, static_cast<int>(stages_.size()) - 1);
  for (int s = std::max(0, left - kWidest); s <= to; ++s) marked_[stages_[s].first] = 1;
}

void WindowSearch::descend_marked() {
  for (int s = 0, clean = 0; clean < static_cast<int>(stages_.size()); ++s, ++clean) {
    if (s >= static_cast<int>(stages_.size())) s = 0;
    if (!marked_[stages_[s].first]) continue;
    marked_[stages_[s].first] = 0;
    if (!improve_from(s)) continue;
    clean = -1;
    s = std::max(-1, s - kWidest);
  }
}

// The windows that begin at a stage, the smallest first.
bool WindowSearch::improve_from(int left) {
  const int end = std::min(left + kWidest, static_cast<int>(stages_.size()));
  for (int right = left; right < end; ++right)
    if (improve(left, right)) return true;
  return false;
}

std::uint64_t WindowSearch::descend(Genes& scheme) {
  looked_at_ = 0;
  load(scheme);
  std::fill(marked_.begin(), marked_.end(), 1);
  descend_marked();
  scheme = this->scheme();
  return looked_at_;
}

void WindowSearch::kick(Rng& rng) {
  Genes scheme = this->scheme();
  const auto [first, last] = overwrite_run(problem_, scheme, rng);
  load(scheme);
  std::fill(marked_.begin(), marked_.end(), 0);
  mark(stage_at(first), stage_at(last));
}

int WindowSearch::stage_at(int layer) const {
  const auto behind = std::upper_bound(stages_.begin(), stages_.end(), layer,
                                       [](int layer, const PricedStage& stage) { return layer < stage.first; });
  return static_cast<int>(behind - stages_.begin()) - 1;
}

std::uint64_t WindowSearch::descend(Genes& scheme, Rng& rng, int trials) {
  descend(scheme);
  std::vector<PricedStage> kept = stages_;
  std::vector<double> kept_counts = counts_;
  double least = broken() ? kInfinity : value();
  for (int trial = 0; trial < trials; ++trial) {
    weight_ = std::clamp(weight_ * (broken() ? kRise : kFall), kMinWeight, kMaxWeight);
    const double before = value();
    kick(rng);
    descend_marked();
    if (!broken() && value() < least) {
      least = value();
      scheme = this->scheme();
    }
    if (value() <= before) {
      kept = stages_;
      kept_counts = counts_;
    } else {
      stages_ = kept;
      counts_ = kept_counts;
    }
  }
  if (least == kInfinity) scheme = this->scheme();
  return looked_at_;
}

// Whether the scheme has too many devices of a type.
bool WindowSearch::broken() const {
  if (!limited_) return false;
  for (int type = 0; type < problem_.types; ++type)
    if (excess_price(type, counts_[type]) > 0) return true;
  return false;
}

}  // namespace stageplan
