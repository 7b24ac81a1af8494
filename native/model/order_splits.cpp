#include "model/order_splits.h"

#include <algorithm>

namespace stageplan {
namespace {

size_t max_used(const DeviceKind& kind) {
  return static_cast<size_t>(std::min(kind.number, OrderSplits::kMostDevices));
}

}  // namespace

OrderSplits::OrderSplits(std::vector<Tensor> tensors, std::vector<DeviceKind> kinds)
    : tensors_(std::move(tensors)), kinds_(std::move(kinds)), loads_(kinds_.size()) {}

void OrderSplits::cut(const std::vector<int>& order) {
  const auto nodes = static_cast<long long>(order.size());
  cuts_ = std::min<size_t>(order.size(), kMostCuts);
  cut_behind_.resize(order.size() + 2);
  position_.resize(order.size());
  long long cut = 0;
  for (long long i = 0; i < nodes + 2; ++i) {
    while (cut <= static_cast<long long>(cuts_) && cut * nodes / static_cast<long long>(cuts_) < i) ++cut;
    cut_behind_[i] = static_cast<int>(cut);
  }
  for (size_t i = 0; i < order.size(); ++i) position_[order[i]] = static_cast<int>(i);
}

// Adds to all intervals that start and end in these ranges: corners of a two-dimensional prefix sum.
void OrderSplits::add_box(int first_start, int last_start, int first_end, int last_end, double seconds) {
  const size_t size = cuts_ + 1;
  const size_t top = cut_behind_[first_start] * size, bottom = cut_behind_[last_start + 1] * size;
  const int left = cut_behind_[first_end + 1] - 1, right = cut_behind_[last_end + 2] - 1;
  transfers_[top + left] += seconds;
  transfers_[bottom + right] += seconds;
  transfers_[top + right] -= seconds;
  transfers_[bottom + left] -= seconds;
}

void OrderSplits::add_tensor(const Tensor& tensor) {
  const int made = position_[tensor.producer], end = static_cast<int>(position_.size()) - 1;
  uses_.clear();
  for (int consumer : tensor.consumers) uses_.push_back(position_[consumer]);
  std::sort(uses_.begin(), uses_.end());
  // It leaves every interval that holds its producer, except those that also hold all consumers.
  add_box(0, made, made, end, tensor.bytes);
  add_box(0, std::min(made, uses_.front()), std::max(made, uses_.back()), end, -tensor.bytes);
  // It enters an interval after its producer at the first consumer there, and one before it at the last.
  int before = made, behind = made;
  for (int use : uses_) {
    if (use <= made) continue;
    add_box(before + 1, use, use, end, tensor.bytes);
    before = use;
  }
  for (auto use = uses_.rbegin(); use != uses_.rend(); ++use) {
    if (*use >= made) continue;
    add_box(0, *use, *use, behind - 1, tensor.bytes);
    behind = *use;
  }
}

std::vector<double> OrderSplits::work_until_cuts(const DeviceKind& kind, const std::vector<int>& order) const {
  std::vector<double> done(cuts_ + 1);
  double work = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    work += kind.work[order[i]];
    done[cut_behind_[i + 1]] = work;
  }
  return done;
}

void OrderSplits::fill(std::vector<double>& loads, const DeviceKind& kind,
                       const std::vector<int>& order) const {
  const std::vector<double> done = work_until_cuts(kind, order);
  loads.assign(cuts_ * cuts_, kInfinity);
  for (size_t i = 0; i < cuts_; ++i)
    for (size_t j = i; j < cuts_; ++j)
      loads[i * cuts_ + j] = done[j + 1] - done[i] + (kind.transfers ? transfers_[i * (cuts_ + 1) + j] : 0);
}

const std::vector<std::vector<double>>& OrderSplits::loads(const std::vector<int>& order) {
  cut(order);
  const size_t size = cuts_ + 1;
  transfers_.assign(size * size, 0);
  for (const Tensor& tensor : tensors_) add_tensor(tensor);
  for (size_t i = size; i < size * size; ++i) transfers_[i] += transfers_[i - size];
  for (size_t i = 0; i < size; ++i)
    for (size_t j = 1; j < size; ++j) transfers_[i * size + j] += transfers_[i * size + j - 1];
  for (size_t k = 0; k < kinds_.size(); ++k) fill(loads_[k], kinds_[k], order);
  return loads_;
}

// Adds one more stage of a kind to those of `fewer` devices, or none.
void OrderSplits::extend(const std::vector<double>& fewer, const std::vector<double>& loads,
                         std::vector<double>& reach) const {
  for (size_t i = 0; i < cuts_; ++i) {
    const double so_far = fewer[i], *row = &loads[i * cuts_];
    for (size_t j = i; j < cuts_; ++j) reach[j + 1] = std::min(reach[j + 1], std::max(so_far, row[j]));
  }
  for (size_t j = 1; j <= cuts_; ++j) reach[j] = std::min(reach[j], fewer[j]);
}

// Dynamic programming over sets of devices, as mixed-radix numbers: the minimal largest load up to each cut.
std::pair<double, double> OrderSplits::score(const std::vector<int>& order) {
  loads(order);
  size_t sets = 1;
  std::vector<size_t> bases;  // of the digits
  for (const DeviceKind& kind : kinds_) {
    bases.push_back(sets);
    sets *= max_used(kind) + 1;
  }
  std::vector<std::vector<double>> reach(sets, std::vector<double>(cuts_ + 1, kInfinity));
  double weighed = 0;
  for (size_t set = 0; set < sets; ++set) {
    reach[set][0] = 0;
    size_t devices = 0;
    for (size_t k = 0; k < kinds_.size(); ++k) {
      const size_t used = set / bases[k] % (max_used(kinds_[k]) + 1);
      if (used > 0) extend(reach[set - bases[k]], loads_[k], reach[set]);
      devices += used;
    }
    if (devices > 0) weighed += static_cast<double>(devices) * reach[set].back();
  }
  return {reach.back().back(), weighed};
}

}  // namespace stageplan
