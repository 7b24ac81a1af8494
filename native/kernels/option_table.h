// First options of stages at one stage time, by position: what scoring among options reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/option_lists.h"

namespace stageplan {

// Of a group: the first option, by devices, of each stage that takes at most `time`, or the fastest one. More
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

  OptionTable(const Problem& problem, double time, const OptionGroup& group);

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

 private:
  void add(int first, int last, int type, size_t place, std::vector<Option>& buffer);

  const OptionLists& lists_;
  const OptionGroup group_;
  const double time_;
  std::vector<std::ptrdiff_t> rows_;
  std::vector<Entry> entries_;  // the first of each stage, then all others
};

}  // namespace stageplan
