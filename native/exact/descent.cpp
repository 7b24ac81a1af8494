#include "exact/descent.h"

#include <algorithm>
#include <cmath>

#include "common/stop.h"

namespace stageplan {
namespace {

constexpr int kSteps = 24;                // in a window, after which the next one is smaller
constexpr double kWindow = 1.3;           // high / low of the first window
constexpr double kStep = 1 - kTolerance;  // to the next stage time, at least

}  // namespace

Descent::Descent(const Problem& problem, int most_devices)
    : problem_(problem), neighbours_alike_(problem.neighbours_may_share_type()) {
  for (Choices* choices : {&left_, &window_}) choices->begins.resize(problem.layers + 1);
  for (int type = 0; type < problem.types; ++type)
    most_devices_.push_back(std::min(most_devices, stageplan::most_devices(problem, type)));
  for (auto* totals : {&start_, &end_}) totals->resize((problem.layers + 1) * problem.types);
}

void Descent::prepare(size_t stages, double low, double high) {
  low_ = low;
  high_ = window_low_ = high;
  ratio_ = kWindow;
  price_ = bound_ = 0;
  all_.clear();
  all_.reserve(stages);
  for (Choices* choices : {&left_, &window_}) choices->list.resize(stages);
  weight_.resize(stages);
  std::fill(left_.begins.begin(), left_.begins.end(), 0);
}

void Descent::add(const Arc& stage, const StageLoad& load) {
  const int id = static_cast<int>(all_.size()), types = problem_.types;
  all_.push_back({stage.first, stage.last, stage.type, load});
  left_.list[id] = {problem_.price[stage.type] * stage.devices,
                    stage_time(problem_, load, stage.devices),
                    stage.first * types + stage.type,
                    (stage.last + 1) * types + stage.type,
                    stage.devices,
                    id};
  ++left_.begins[stage.first + 1];
}

void Descent::begin(const std::vector<Arc>& stages, const ListedStages& options, double low, double high) {
  begin(stages, [](int, int, int) { return StageLoad(); }, low, high);
  check_stop_often(1 + stages.size() / 16);
  listed_ = &options;
  all_listed_.clear();
  for (const Stage& stage : all_) {
    const ListedStages::Range range = options.of(stage.first, stage.last, stage.type);
    Choice& choice = left_.list[all_listed_.size()];
    all_listed_.push_back({range, stage.type});
    choice.size = static_cast<int>(options.at_devices(range, choice.size) - range.begin);
    reach_listed(choice);
  }
}

// Gives a stage the devices that reach the time; if there are none, an infinite price.
void Descent::reach(Choice& choice) {
  if (listed_) return reach_listed(choice);
  const Stage& stage = all_[choice.id];
  int devices = choice.size + 1;  // nearly always enough
  double time = stage_time(problem_, stage.load, devices);
  if (time > high_) {
    const Devices fewest = devices_for(problem_, stage.load, stage.type, high_);
    devices = fewest.reached ? fewest.count : kMaxDevices + 1;
    time = stage_time(problem_, stage.load, devices);
  }
  const bool reached = devices <= most_devices_[stage.type];
  choice.size = devices;
  choice.time = reached ? time : 0;
  choice.price = reached ? problem_.price[stage.type] * devices : kInfinity;
}

// An option that is too slow for a longer time is so for a shorter one.
void Descent::reach_listed(Choice& choice) const {
  const auto& [options, type] = all_listed_[choice.id];
  const std::uint32_t i = listed_->first_within(options.begin + choice.size, options, type, high_);
  const int devices = i < options.end ? listed_->devices(i, options) : kMaxDevices + 1;
  const bool reached = devices <= most_devices_[type];
  choice.size = static_cast<int>(i - options.begin);
  choice.time = reached ? listed_->seconds(i) : 0;
  choice.price = reached ? problem_.price[type] * devices : kInfinity;
}

int Descent::devices(const Choice& choice) const {
  if (!listed_) return choice.size;
  const ListedStages::Range& options = all_listed_[choice.id].options;
  return listed_->devices(options.begin + choice.size, options);
}

// Turns the least totals of the stages of each type at a cut into those of the stages that one of the type may
// join; returns the least of all. Neighbours of one type would merge.
inline double Descent::join(double* totals) const {
  const int types = problem_.types;
  double best = kInfinity, second = kInfinity;
  for (int type = 0; type < types; ++type) {
    second = std::min(second, std::max(best, totals[type]));
    best = std::min(best, totals[type]);
  }
  const double other = neighbours_alike_ ? best : second;
  for (int type = 0; type < types; ++type) totals[type] = totals[type] == best ? other : best;
  return best;
}

// The least total of all paths, once the stages have the devices that reach the time.
template <class Weight>
double Descent::to_end(Choices& choices, const Weight& weight) {
  work_ += 2 * choices.size();
  check_stop_often(1 + choices.size() / 16);
  const int types = problem_.types;
  const double high = high_;
  Choice* const list = choices.list.data();
  double* const end = end_.data();
  std::fill(end_.begin(), end_.end() - types, kInfinity);
  double best = 0;
  for (int first = problem_.layers - 1; first >= 0; --first) {
    for (int i = choices.begins[first], past = choices.begins[first + 1]; i < past; ++i) {
      Choice& choice = list[i];
      if (choice.time > high) reach(choice);
      const double total = weight(i) + end[choice.to];
      const double least = end[choice.from];
      end[choice.from] = std::min(least, total);
    }
    best = join(end + static_cast<size_t>(first) * types);
  }
  return best;
}

// Keeps what is on paths that cost less than `most`; false if there are none.
bool Descent::narrow(Choices& choices, Choices& kept, double low, double most) {
  const Choice* const list = choices.list.data();
  double* const weights = weight_.data();
  least_ = to_end(choices, [=](size_t i) { return weights[i] = list[i].price * std::max(low, list[i].time); });
  if (!(least_ < most)) return false;
  const int types = problem_.types;
  work_ += choices.size();
  std::fill(start_.begin(), start_.begin() + types, 0.0);
  std::fill(start_.begin() + types, start_.end(), kInfinity);
  double* const start = start_.data();
  const double* const end = end_.data();
  size_t count = 0, i = 0;
  for (int first = 0; first < problem_.layers; ++first) {
    if (first > 0) join(start + static_cast<size_t>(first) * types);
    const size_t past = choices.begins[first + 1];
    kept.begins[first] = static_cast<int>(count);
    for (; i < past; ++i) {
      const Choice choice = list[i];
      const double total = start[choice.from] + weights[i];
      const double least = start[choice.to];
      start[choice.to] = std::min(least, total);
      kept.list[count] = choice;
      count += total + end[choice.to] <= most;
    }
  }
  kept.begins.back() = static_cast<int>(count);
  check_stop_often(1 + count / 4);
  return true;
}

// Chooses the stages of better plans in the next window; false if there are none in it.
bool Descent::open_window(double most) {
  if (!narrow(left_, left_, low_, most - problem_.fixed_price * low_)) {
    high_ = low_;
    return false;
  }
  bound_ = least_ + problem_.fixed_price * low_;
  window_low_ = std::max(low_, high_ / ratio_);
  steps_ = 0;
  if (narrow(left_, window_, window_low_, most - problem_.fixed_price * window_low_)) return true;
  high_ = window_low_;
  ratio_ *= ratio_;
  return false;
}

// The cheapest path per hour in the window, of this price; its slowest stage's time.
double Descent::find_path(double price) {
  path_.clear();
  double slowest = 0;
  int before = -1;
  for (int cut = 0; cut < problem_.layers;) {
    const Choice* choice = &window_.list[window_.begins[cut]];
    const auto next = [&] {
      return choice->price + end_[choice->to] == price && all_[choice->id].type != before;
    };
    while (!next()) ++choice;
    const Stage& stage = all_[choice->id];
    path_.push_back({stage.first, stage.last, stage.type, devices(*choice), choice->time});
    slowest = std::max(slowest, choice->time);
    price = end_[choice->to];
    before = neighbours_alike_ ? -1 : stage.type;
    cut = stage.last + 1;
  }
  return slowest;
}

bool Descent::next(double most, std::uint64_t work) {
  const auto lower = [&](double price) {
    high_ = std::max(window_low_, std::min(high_ * kStep, most / price));
    if (high_ <= window_low_) {
      ratio_ = std::max(ratio_, std::min(kWindow, ratio_ * ratio_));
    } else if (++steps_ == kSteps) {
      window_low_ = high_;
      ratio_ = std::max(1 / kStep, std::sqrt(std::min(ratio_, kWindow)));
    }
  };
  if (price_ > 0) {
    lower(price_);
    price_ = 0;
  }
  while (low_ < high_ && work_ < work) {
    if (high_ <= window_low_ && !open_window(most)) continue;
    const double path = to_end(window_, [list = window_.list.data()](size_t i) { return list[i].price; });
    const double price = path + problem_.fixed_price;
    if (price == kInfinity || !meets(price, problem_.max_price)) {
      high_ = window_low_;
    } else if (cost_ = find_path(path) * price; cost_ < most) {
      price_ = price;
      return true;
    } else {
      lower(price);
    }
  }
  return false;
}

}  // namespace stageplan
