// First options of stages at one stage time, by position: what scoring among options reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/option_lists.h"

namespace stageplan {

// Weights for the choice among options that keep to the stage time, and a limit on their all-reduce.
struct OptionWeights {
  double pass = 0;             // $/hour of a second of passing through
  std::vector<double> device;  // (types,), $/hour of a device; empty: its price
  double sync = kInfinity;     // seconds an example, upper limit

  double of_device(const Problem& problem, int type) const {
    return device.empty() ? problem.price[type] : device[type];
  }
  bool operator==(const OptionWeights&) const = default;
};

// Of a group: of the options of each stage that take at most `time`, and at most the weights' all-reduce, the
// one that counts least, by default the first one by devices; where there is none, the fastest one. More
// microbatches in flight only ever rule options out, so that a stage has few entries, one behind the other.
class OptionTable {
 public:
  struct Entry {
    double time, pass, sync;
    std::uint32_t next;     // entry for more in flight
    std::uint16_t devices;  // kUnfit: nothing fits, or too many devices for this
    std::uint16_t most;     // in flight up to which the entry holds; kAny: all
  };
  static constexpr std::uint16_t kUnfit = 65535, kAny = 65535;

  // Only of stages between cuts at multiples of `stride`; nothing fits the others.
  OptionTable(const Problem& problem, double time, const OptionGroup& group, const OptionWeights& weights,
              int stride = 1);

  // Least bytes that a table of the problem takes.
  static size_t bytes(const Problem& problem) {
    const size_t layers = problem.layers;
    return layers * (layers + 1) / 2 * problem.types * sizeof(Entry);
  }

  // Of the stages that begin at `first`, that of (last, type) stands at [last * types + type].
  const Entry* row(int first) const { return entries_.data() + rows_[first]; }

  const Entry& at(const Entry& first, int in_flight) const {
    const Entry* entry = &first;
    while (in_flight > entry->most) entry = &entries_[entry->next];
    return *entry;
  }

  // Whether it takes no more time and all-reduce than asked for.
  bool reaches(const Entry& entry) const {
    return entry.devices != kUnfit && meets(entry.time, time_) && entry.sync <= weights_.sync;
  }

 private:
  void add(int first, int last, int type, size_t place, std::vector<Option>& buffer);
  const Option* choose(std::span<const Option> fitting, double of_device, int in_flight) const;

  const Problem& problem_;
  const OptionLists& lists_;
  const OptionGroup group_;
  const OptionWeights& weights_;
  const double time_;
  std::vector<std::ptrdiff_t> rows_;
  std::vector<Entry> entries_;  // the first of each stage, then all others
};

}  // namespace stageplan
