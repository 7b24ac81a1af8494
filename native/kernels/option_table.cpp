#include "kernels/option_table.h"

#include <algorithm>

#include "common/stop.h"

namespace stageplan {

OptionTable::OptionTable(const Problem& problem, double time, const OptionGroup& group)
    : lists_(problem.option_lists()), group_(group), time_(time) {
  const int layers = problem.layers, types = problem.types;
  entries_.resize(bytes(problem) / sizeof(Entry));
  std::vector<Option> buffer;
  size_t place = 0;
  for (int first = 0; first < layers; ++first) {
    check_stop();
    rows_.push_back(static_cast<std::ptrdiff_t>(place) - static_cast<std::ptrdiff_t>(first) * types);
    for (int last = first; last < layers; ++last)
      for (int type = 0; type < types; ++type) add(first, last, type, place++, buffer);
  }
}

// Entry by entry, for more and more in flight.
void OptionTable::add(int first, int last, int type, size_t place, std::vector<Option>& buffer) {
  const Options& options = lists_.options();
  const int most = options.most_in_flight();
  const auto fitting = lists_.fitting(first, last, type, buffer);
  for (int in_flight = options.in_flight(1);;) {
    const Option* found = nullptr;
    for (const Option& option : fitting) {
      if (option.fits < in_flight || !lists_.in_group(option, group_)) continue;
      if (!found || option.time < found->time) found = &option;
      if (meets(option.time, time_)) break;
    }
    Entry& entry = entries_[place];
    if (!found || found->devices >= kUnfit) {
      entry = {0, 0, 0, 0, kUnfit, kAny};
      return;
    }
    const bool last_entry = found->fits >= most || found->fits >= kAny;
    entry = {found->time,
             found->pass,
             found->sync,
             static_cast<std::uint32_t>(entries_.size()),
             static_cast<std::uint16_t>(found->devices),
             last_entry ? kAny : static_cast<std::uint16_t>(found->fits)};
    if (last_entry) return;
    in_flight = found->fits + 1;
    place = entries_.size();
    entries_.emplace_back();
  }
}

}  // namespace stageplan
