#include "model/stage_table.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/stop.h"

namespace stageplan {

double stage_violation(const Problem& problem, const StageLoad& load, int type) {
  return load.unsupported + excess(load.memory, problem.capacity[type]);
}

namespace {

// Real-valued k of serial + parallel / k = time; infinite if there is none.
double real_devices(double serial, double parallel, double time) {
  if (parallel == 0) return serial <= time ? 0 : kInfinity;
  return time > serial ? parallel / (time - serial) : kInfinity;
}

double real_devices(const Problem& problem, const StageLoad& load, double time) {
  if (!problem.overlap)
    return real_devices(load.serial_compute + load.serial_transfer,
                        load.parallel_compute + load.parallel_transfer, time);
  return std::max(real_devices(load.serial_compute, load.parallel_compute, time),
                  real_devices(load.serial_transfer, load.parallel_transfer, time));
}

// The formula can be off by one, or by more if time - serial is mostly rounding error: stage_time decides.
int settle(const Problem& problem, const StageLoad& load, int guess, int max_devices, double time) {
  auto reaches = [&](int k) { return stage_time(problem, load, k) <= time; };
  int low = guess, high = guess;  // bracket: low - 1 misses the time, high reaches it
  for (int step = 1; high < max_devices && !reaches(high); step *= 2) {
    low = high + 1;
    high = std::min(max_devices, high + step);
  }
  for (int step = 1; low > 1 && reaches(low - 1); step *= 2) {
    high = low - 1;
    low = std::max(1, low - 1 - step);
  }
  while (low < high) {
    const int middle = low + (high - low) / 2;
    if (reaches(middle))
      high = middle;
    else
      low = middle + 1;
  }
  return high;
}

// Whether rounding cannot change the guess, rounded up, provided that the serial part is small.
bool far_from_whole(double guess) {
  if (guess >= 1 << 16) return false;
  const double fraction = guess - static_cast<int>(guess);
  return fraction > 1e-9 && fraction < 1 - 1e-9;
}

double serial_time(const Problem& problem, const StageLoad& load) {
  return problem.overlap ? std::max(load.serial_compute, load.serial_transfer)
                         : load.serial_compute + load.serial_transfer;
}

}  // namespace

Devices devices_for(const Problem& problem, const StageLoad& load, int type, double time) {
  const int max_devices = problem.max_devices_per_stage;
  double allowed = time * (1 + kTolerance);
  const auto settled = [&](double guess) {
    guess = std::clamp<double>(std::ceil(guess), 1, max_devices);
    return settle(problem, load, static_cast<int>(guess), max_devices, allowed);
  };
  const double guess = real_devices(problem, load, allowed);
  if (far_from_whole(guess) && guess < max_devices && serial_time(problem, load) < allowed / 2)
    return {static_cast<int>(guess) + 1, true};
  if (guess < max_devices) return {settled(guess), true};
  if (stage_time(problem, load, max_devices) <= allowed) return {settled(max_devices), true};
  const double top = std::min<double>(max_devices, std::max(problem.limit[type], 1.0));
  allowed = stage_time(problem, load, static_cast<int>(top)) * (1 + kTolerance);
  return {settled(real_devices(problem, load, allowed)), false};
}

void add_layer(const Problem& problem, StageLoad& load, int layer, int type) {
  const size_t i = static_cast<size_t>(layer) * problem.types + type;
  const double seconds = problem.compute[i], parallel = problem.compute_parallel[i];
  load.memory += problem.memory[layer];
  if (seconds == kInfinity) {
    ++load.unsupported;
    return;
  }
  load.serial_compute += seconds * (1 - parallel);
  load.parallel_compute += seconds * parallel;
}

void add_transfer(const Problem& problem, StageLoad& load, double seconds, int type) {
  load.serial_transfer += seconds * (1 - problem.transfer_parallel[type]);
  load.parallel_transfer += seconds * problem.transfer_parallel[type];
}

void PreciseSum::add(double x) {
  const double sum = high_ + x, shift = sum - high_;
  low_ += (high_ - (sum - shift)) + (x - shift);
  high_ = sum;
}

namespace {

// For a fixed first layer: the bytes that tensors add over ranges of last layers.
struct Ranges {
  std::vector<double> change;
  std::vector<int> tensors;  // change in their number
  explicit Ranges(int layers) : change(layers + 1), tensors(layers + 1) {}
  void add(int from, int past, double bytes) {
    if (from >= past) return;
    change[from] += bytes;
    change[past] -= bytes;
    ++tensors[from];
    --tensors[past];
  }
};

// A tensor with its consumers sorted, its producer left out.
struct Spread {
  int producer, lowest, highest;
  std::vector<int> consumers;
  double bytes;

  explicit Spread(const Tensor& tensor) : producer(tensor.producer), bytes(tensor.bytes) {
    for (int c : tensor.consumers)
      if (c != producer) consumers.push_back(c);
    std::sort(consumers.begin(), consumers.end());
    lowest = consumers.empty() ? producer : std::min(producer, consumers.front());
    highest = consumers.empty() ? producer : std::max(producer, consumers.back());
  }
};

// For stages that begin at `first`: the tensor leaves those that hold its producer but not all consumers, and
// enters those that hold a consumer but not its producer.
void add_tensor(Ranges& ranges, const Spread& tensor, int first, int layers) {
  const auto consumer = std::lower_bound(tensor.consumers.begin(), tensor.consumers.end(), first);
  const int next = consumer == tensor.consumers.end() ? layers : *consumer;
  if (tensor.producer < first) {
    ranges.add(next, layers, tensor.bytes);
    return;
  }
  ranges.add(next, tensor.producer, tensor.bytes);
  ranges.add(tensor.producer, tensor.lowest < first ? layers : tensor.highest, tensor.bytes);
}

}  // namespace

IntervalBytes::IntervalBytes(const Problem& problem) : layers_(problem.layers) {
  if (problem.tensors.empty()) return;
  const std::vector<Spread> tensors(problem.tensors.begin(), problem.tensors.end());
  const int layers = problem.layers;
  bytes_.reserve(row(layers));
  for (int first = 0; first < layers; ++first) {
    check_stop();
    Ranges ranges(layers);
    for (const Spread& tensor : tensors) add_tensor(ranges, tensor, first, layers);
    PreciseSum total;
    int crossing = 0;
    for (int last = first; last < layers; ++last) {
      total.add(ranges.change[last]);
      crossing += ranges.tensors[last];
      bytes_.push_back(crossing == 0 ? 0.0 : std::max(0.0, total - PreciseSum()));  // exactly 0 if none cross
    }
  }
}

IntervalMaxima::IntervalMaxima(const std::vector<double>& values) {
  if (values.empty()) return;
  levels_.push_back(values);
  for (size_t half = 1; 2 * half <= values.size(); half *= 2) {
    const std::vector<double>& below = levels_.back();
    std::vector<double> level(values.size() + 1 - 2 * half);
    for (size_t i = 0; i < level.size(); ++i) level[i] = std::max(below[i], below[i + half]);
    levels_.push_back(std::move(level));
  }
}

StageLoads::StageLoads(const Problem& problem)
    : problem_(problem),
      bytes_(problem),
      compute_(static_cast<size_t>(problem.layers + 1) * problem.types),
      memory_(problem.layers + 1),
      workspace_(problem.workspace) {
  const int types = problem.types;
  for (int l = 0; l < problem.layers; ++l) {
    memory_[l + 1] = memory_[l];
    memory_[l + 1].add(problem.memory[l]);
    for (int t = 0; t < types; ++t) {
      StageLoad layer;
      add_layer(problem, layer, l, t);
      Prefix& prefix = compute_[static_cast<size_t>(l + 1) * types + t];
      prefix = compute_[static_cast<size_t>(l) * types + t];
      prefix.serial.add(layer.serial_compute);
      prefix.parallel.add(layer.parallel_compute);
      prefix.unsupported += layer.unsupported;
    }
  }
}

StageLoad StageLoads::operator()(int first, int last, int type) const {
  const size_t types = problem_.types;
  const Prefix& from = compute_[first * types + type];
  const Prefix& to = compute_[(last + 1) * types + type];
  StageLoad load;
  load.serial_compute = to.serial - from.serial;
  load.parallel_compute = to.parallel - from.parallel;
  load.memory = (memory_[last + 1] - memory_[first]) + workspace_(first, last);
  load.unsupported = to.unsupported - from.unsupported;
  double seconds = bytes_(first, last) / problem_.bandwidth[type];
  if (last + 1 < problem_.layers) seconds += problem_.send[last * types + type];
  if (first > 0) seconds += problem_.receive[first * types + type];
  add_transfer(problem_, load, seconds, type);
  return load;
}

StageTable::StageTable(const Problem& problem, const StageLoads& loads, double time, size_t max_bytes)
    : problem_(problem), loads_(loads), time_(time) {
  const size_t layers = problem.layers, types = problem.types;
  if (bytes(problem) > max_bytes) return;
  entries_.reserve(bytes(problem) / sizeof(Entry));
  rows_.reserve(layers);
  for (int first = 0; first < problem.layers; ++first) {
    check_stop();
    rows_.push_back(static_cast<std::ptrdiff_t>(entries_.size()) - static_cast<std::ptrdiff_t>(first * types));
    for (int last = first; last < problem.layers; ++last)
      for (int type = 0; type < problem.types; ++type) entries_.push_back(make(first, last, type));
  }
}

StageTable::Entry StageTable::make(int first, int last, int type) const {
  const StageLoad load = loads_(first, last, type);
  const int devices = devices_for(problem_, load, type, time_).count;
  return {stage_time(problem_, load, devices), stage_violation(problem_, load, type), devices};
}

}  // namespace stageplan
