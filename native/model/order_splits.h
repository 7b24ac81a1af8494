// How well a linear order of a graph can be split into stages, one interval per device: the score by which
// readers choose an order.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "model/problem.h"

namespace stageplan {

// Devices of one kind, each of which may hold one interval of the order.
struct DeviceKind {
  std::int64_t number;
  std::vector<double> work;  // finite seconds of each node
  bool transfers;            // whether a device pays for the tensors that enter and leave it
};

// Keeps its buffers between orders.
class OrderSplits {
 public:
  static constexpr std::int64_t kMostDevices = 8;  // devices considered of each kind
  static constexpr int kMostCuts = 512;  // positions where a split may cut; a longer order is cut on a grid

  // `bytes` of a tensor: the seconds paid by each stage that it enters or leaves.
  OrderSplits(std::vector<Tensor> tensors, std::vector<DeviceKind> kinds);

  // The minimal largest load with all devices; and, to break ties, the sum of this over all sets of devices,
  // each weighted by its number of devices. Lower is better.
  std::pair<double, double> score(const std::vector<int>& order);

  // Loads of the intervals on each kind, (cuts, cuts): from cut i to cut j + 1, where i <= j.
  const std::vector<std::vector<double>>& loads(const std::vector<int>& order);

 private:
  void cut(const std::vector<int>& order);
  void add_tensor(const Tensor& tensor);
  void add_box(int first_start, int last_start, int first_end, int last_end, double seconds);
  std::vector<double> work_until_cuts(const DeviceKind& kind, const std::vector<int>& order) const;
  void fill(std::vector<double>& loads, const DeviceKind& kind, const std::vector<int>& order) const;
  void extend(const std::vector<double>& fewer, const std::vector<double>& loads,
              std::vector<double>& reach) const;

  const std::vector<Tensor> tensors_;
  const std::vector<DeviceKind> kinds_;
  size_t cuts_ = 0;                         // number of intervals between neighbouring cuts
  std::vector<int> cut_behind_;             // the first cut at or after each position
  std::vector<int> position_;               // of each node
  std::vector<int> uses_;                   // positions of one tensor's consumers
  std::vector<double> transfers_;           // (cuts + 1, cuts + 1): of each interval, after summation
  std::vector<std::vector<double>> loads_;  // by kind
};

}  // namespace stageplan
