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

void Descent::Stages::resize(size_t size) {
  for (auto* numbers : {&id, &devices, &type, &past, &joins}) numbers->resize(size);
  price.resize(size);
  time.resize(size);
}

void Descent::Stages::move(size_t from, size_t to) {
  for (auto* numbers : {&id, &devices, &type, &past, &joins}) (*numbers)[to] = (*numbers)[from];
  price[to] = price[from];
  time[to] = time[from];
}

Descent::Descent(const Problem& problem)
    : problem_(problem), neighbours_alike_(problem.neighbours_may_share_type()) {
  left_.begins.resize(problem.layers + 1);
  for (auto* totals : {&starts_, &ends_}) totals->resize(problem.layers + 1);
  for (auto* totals : {&start_, &end_}) totals->resize((problem.layers + 1) * problem.types);
}

void Descent::begin(const std::vector<Arc>& stages) {
  ratio_ = kWindow;
  price_ = bound_ = 0;
  left_.resize(stages.size());
  size_t i = 0;
  for (int first = 0; first <= problem_.layers; ++first) {
    left_.begins[first] = static_cast<int>(i);
    for (; i < stages.size() && stages[i].first == first; ++i) {
      const Arc& stage = stages[i];
      left_.id[i] = static_cast<int>(i);
      left_.devices[i] = stage.devices;
      left_.type[i] = stage.type;
      left_.past[i] = stage.last + 1;
      left_.joins[i] = (stage.last + 1) * problem_.types + stage.type;
      left_.price[i] = problem_.price[stage.type] * stage.devices;
      left_.time[i] = stage_time(problem_, all_[i].load, stage.devices);
    }
  }
}

// Gives the stages the devices that reach the time; those that cannot get an infinite price.
void Descent::reach(Stages& stages) {
  const double allowed = high_ * (1 + kTolerance);
  for (size_t i = 0; i < stages.size(); ++i)
    if (stages.time[i] > allowed) reach(stages, i, allowed);
  work_ += stages.size();
  check_stop_often(1 + stages.size() / 16);
}

void Descent::reach(Stages& stages, size_t i, double allowed) {
  const Stage& stage = all_[stages.id[i]];
  const int type = stages.type[i];
  int devices = stages.devices[i] + 1;  // nearly always enough
  double time = stage_time(problem_, stage.load, devices);
  if (time > allowed) {
    const Devices fewest = devices_for(problem_, stage.load, type, high_);
    devices = fewest.reached ? fewest.count : kMaxDevices + 1;
    time = stage_time(problem_, stage.load, devices);
  }
  const bool reached = devices <= most_devices(problem_, type);
  stages.devices[i] = devices;
  stages.time[i] = reached ? time : 0;
  stages.price[i] = reached ? problem_.price[type] * devices : kInfinity;
}

void Descent::spread(const Least& least, size_t cut, std::vector<double>& totals) const {
  double* const here = &totals[cut * problem_.types];
  for (int type = 0; type < problem_.types; ++type) here[type] = least.best;
  if (least.type >= 0) here[least.type] = least.second;
}

template <class Weight>
double Descent::to_end(const Stages& stages, const Weight& weight) {
  work_ += stages.size();
  ends_.back() = {0};
  spread(ends_.back(), problem_.layers, end_);
  for (int first = problem_.layers - 1; first >= 0; --first) {
    Least least;
    for (int i = stages.begins[first]; i < stages.begins[first + 1]; ++i) {
      const double total = weight(i) + end_[stages.joins[i]];
      if (total < least.second) least.offer(total, i, neighbours_alike_ ? -1 : stages.type[i]);
    }
    ends_[first] = least;
    spread(least, first, end_);
  }
  return ends_[0].best;
}

void Descent::from_start(const Stages& stages, double low) {
  work_ += stages.size();
  std::fill(starts_.begin(), starts_.end(), Least());
  starts_[0].best = 0;
  for (int first = 0; first < problem_.layers; ++first) {
    spread(starts_[first], first, start_);
    const double* const here = &start_[static_cast<size_t>(first) * problem_.types];
    for (int i = stages.begins[first]; i < stages.begins[first + 1]; ++i) {
      const double total = here[stages.type[i]] + stages.price[i] * std::max(low, stages.time[i]);
      Least& there = starts_[stages.past[i]];
      if (total < there.second) there.offer(total, i, neighbours_alike_ ? -1 : stages.type[i]);
    }
  }
}

// Keeps the stages on paths that cost less than `most`; false if there are none.
bool Descent::narrow(Stages& stages, double low, double most) {
  const auto weight = [&](size_t i) { return stages.price[i] * std::max(low, stages.time[i]); };
  total_ = to_end(stages, weight);
  if (!(total_ < most)) return false;
  from_start(stages, low);
  size_t kept = 0, i = 0;
  for (int first = 0; first < problem_.layers; ++first) {
    const size_t end = stages.begins[first + 1];
    stages.begins[first] = static_cast<int>(kept);
    const double* const here = &start_[static_cast<size_t>(first) * problem_.types];
    for (; i < end; ++i)
      if (here[stages.type[i]] + weight(i) + end_[stages.joins[i]] <= most) stages.move(i, kept++);
  }
  stages.begins.back() = static_cast<int>(kept);
  stages.resize(kept);
  check_stop_often(1 + kept / 4);
  return true;
}

// Chooses the stages of better plans in the next window; false if there are none in it.
bool Descent::open_window(double most) {
  reach(left_);
  if (!narrow(left_, low_, most - problem_.fixed_price * low_)) {
    high_ = low_;
    return false;
  }
  bound_ = total_ + problem_.fixed_price * low_;
  window_low_ = std::max(low_, high_ / ratio_);
  window_ = left_;
  steps_ = 0;
  if (narrow(window_, window_low_, most - problem_.fixed_price * window_low_)) return true;
  high_ = window_low_;
  ratio_ *= ratio_;
  return false;
}

// The cheapest path per hour in the window; its slowest stage's time.
double Descent::find_path() {
  path_.clear();
  double slowest = 0;
  int before = -2;
  for (int cut = 0; cut < problem_.layers;) {
    const int i = ends_[cut].arc_without(before);
    const Stage& stage = all_[window_.id[i]];
    path_.push_back({stage.first, stage.last, window_.type[i], window_.devices[i], window_.time[i]});
    slowest = std::max(slowest, window_.time[i]);
    before = neighbours_alike_ ? -2 : window_.type[i];
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
    reach(window_);
    const double price = to_end(window_, [&](size_t i) { return window_.price[i]; }) + problem_.fixed_price;
    if (price == kInfinity || !meets(price, problem_.max_price)) {
      high_ = window_low_;
    } else if (cost_ = find_path() * price; cost_ < most) {
      price_ = price;
      return true;
    } else {
      lower(price);
    }
  }
  return false;
}

}  // namespace stageplan
