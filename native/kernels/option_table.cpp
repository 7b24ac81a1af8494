#include "kernels/option_table.h"

#include <algorithm>

#include "common/stop.h"

namespace stageplan {
namespace {

constexpr OptionTable::Entry kNone{0, 0, 0, 0, OptionTable::kUnfit, OptionTable::kAny};

}  // namespace

OptionTable::OptionTable(const Problem& problem, double time, const OptionGroup& group,
                         const OptionWeights& weights, int stride)
    : problem_(problem), lists_(problem.option_lists()), group_(group), weights_(weights), time_(time) {
  const int layers = problem.layers, types = problem.types;
  entries_.assign(bytes(problem) / sizeof(Entry), kNone);
  std::vector<Option> buffer;
  size_t place = 0;
  for (int first = 0; first < layers; ++first) {
    check_stop();
    rows_.push_back(static_cast<std::ptrdiff_t>(place) - static_cast<std::ptrdiff_t>(first) * types);
    for (int last = first; last < layers; ++last) {
      const bool cuts = first % stride == 0 && (last + 1 == layers || (last + 1) % stride == 0);
      for (int type = 0; type < types; ++type, ++place)
        if (cuts) add(first, last, type, place, buffer);
    }
  }
}

// The option of a stage, null where none fits with so many in flight.
const Option* OptionTable::choose(std::span<const Option> fitting, double of_device, int in_flight) const {
  const Option *cheapest = nullptr, *fastest = nullptr;
  const bool any_group = group_ == OptionGroup();
  double least = kInfinity;
  for (const Option& option : fitting) {
    if (option.fits < in_flight || (!any_group && !lists_.in_group(option, group_))) continue;
    if (meets(option.time, time_) && option.sync <= weights_.sync) {
      const double price = of_device * option.devices;
      if (cheapest && price >= least) break;
      const double value = price + weights_.pass * option.pass;
      if (cheapest && value >= least) continue;
      cheapest = &option;
      least = value;
    } else if (!fastest || option.time < fastest->time) {
      fastest = &option;
    }
  }
  return cheapest ? cheapest : fastest;
}

// Entry by entry, for more and more in flight.
void OptionTable::add(int first, int last, int type, size_t place, std::vector<Option>& buffer) {
  const Options& options = lists_.options();
  const int most = options.most_in_flight();
  const double of_device = weights_.of_device(problem_, type);
  const auto fitting = lists_.fitting(first, last, type, buffer);
  for (int in_flight = options.in_flight(1);;) {
    const Option* const found = choose(fitting, of_device, in_flight);
    Entry& entry = entries_[place];
    if (!found || found->devices >= kUnfit) {
      entry = kNone;
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
