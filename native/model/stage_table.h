// From physics to a table: what a stage costs, and how many devices it takes to reach a target.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/problem.h"

namespace stageplan {

// Everything that a stage's time depends on; seconds per example, bytes. Each part is split into what
// more devices do not shorten (serial) and what they share (parallel): Amdahl's law, exact under merging.
struct StageLoad {
  double serial_compute = 0, parallel_compute = 0;
  double serial_transfer = 0, parallel_transfer = 0;
  double memory = 0;
  int unsupported = 0;  // layers that the type cannot run

  double compute_time(int devices) const { return serial_compute + parallel_compute / devices; }
  double transfer_time(int devices) const { return serial_transfer + parallel_transfer / devices; }
};

inline double stage_time(const Problem& problem, const StageLoad& load, int devices) {
  if (problem.overlap) return std::max(load.compute_time(devices), load.transfer_time(devices));
  return load.serial_compute + load.serial_transfer +
         (load.parallel_compute + load.parallel_transfer) / devices;
}

// What the stage violates whatever its devices: memory over the type's capacity, unsupported layers.
double stage_violation(const Problem& problem, const StageLoad& load, int type);

// The fewest devices with which the stage takes at most `time`, ties counting as reached (`kTolerance`). If no
// number does, the fewest that are as fast as the maximum for a stage of this type; not `reached`.
struct Devices {
  int count;
  bool reached;
};
Devices devices_for(const Problem& problem, const StageLoad& load, int type, double time);

// Builds up the load of a stage layer by layer.
void add_layer(const Problem& problem, StageLoad& load, int layer, int type);
void add_transfer(const Problem& problem, StageLoad& load, double seconds, int type);

// A compensated sum: differences of two are exact to the last digits, so that an interval has the same value
// from prefix sums as when added up directly.
class PreciseSum {
 public:
  void add(double x);
  double operator-(const PreciseSum& from) const { return (high_ - from.high_) + (low_ - from.low_); }

 private:
  double high_ = 0, low_ = 0;
};

// Bytes that cross the ends of each interval of layers; each tensor counts once a stage.
class IntervalBytes {
 public:
  explicit IntervalBytes(const Problem& problem);
  double operator()(int first, int last) const {
    return bytes_.empty() ? 0.0 : bytes_[row(first) + last - first];
  }

 private:
  size_t row(int first) const { return static_cast<size_t>(first) * (2 * layers_ - first + 1) / 2; }
  size_t layers_;
  std::vector<double> bytes_;  // empty without tensors
};

// The largest of some numbers in any interval, each looked up as the larger of two powers of two long.
class IntervalMaxima {
 public:
  explicit IntervalMaxima(const std::vector<double>& values);
  double operator()(int first, int last) const {
    if (levels_.empty()) return 0.0;
    const int level = std::bit_width(static_cast<unsigned>(last - first + 1)) - 1;
    return std::max(levels_[level][first], levels_[level][last + 1 - (1 << level)]);
  }

 private:
  std::vector<std::vector<double>> levels_;  // of intervals that are 2^level long; empty without numbers
};

// Loads of all intervals of layers on all types, by prefix sums.
class StageLoads {
 public:
  explicit StageLoads(const Problem& problem);
  StageLoad operator()(int first, int last, int type) const;

 private:
  struct Prefix {
    PreciseSum serial, parallel;
    int unsupported = 0;
  };
  const Problem& problem_;
  IntervalBytes bytes_;
  std::vector<Prefix> compute_;     // (layers + 1, types)
  std::vector<PreciseSum> memory_;  // (layers + 1,)
  IntervalMaxima workspace_;
};

// Time, devices and violation of every stage at one target: all that searches read.
class StageTable {
 public:
  struct Entry {
    double time;
    double violation;
    int devices;
  };

  // `time`: the allowed stage time. Above `max_bytes` nothing is stored and entries are computed on demand.
  StageTable(const Problem& problem, const StageLoads& loads, double time, size_t max_bytes = kMaxBytes);
  static constexpr size_t kMaxBytes = size_t{1} << 28;

  // Size of a table of the problem.
  static size_t bytes(const Problem& problem) {
    return static_cast<size_t>(problem.layers) * (problem.layers + 1) / 2 * problem.types * sizeof(Entry);
  }

  bool stored() const { return !entries_.empty(); }

  // Entries of the stages that begin at `first`: (last, type) is at [last * types + type].
  const Entry* row(int first) const { return entries_.data() + rows_[first]; }

  Entry make(int first, int last, int type) const;

 private:
  const Problem& problem_;
  const StageLoads& loads_;
  double time_;
  std::vector<std::ptrdiff_t> rows_;
  std::vector<Entry> entries_;
};

}  // namespace stageplan
