// Listed options without a schedule, as the exact search reads them: the first option that is fast enough, and
// lower bounds of those of each stage.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "common/prefetch.h"
#include "common/stop.h"
#include "model/devices_bound.h"
#include "model/stage_matrix.h"

namespace stageplan {

class ListedStages {
 public:
  // Reads all options once.
  explicit ListedStages(const Problem& problem);

  // Whether devices times time never fall from one option of a stage to the next one that has more devices,
  // takes less time and fits. Only then there are bounds.
  bool work_grows() const { return work_grows_; }

  // Longer than the time of any option, and more than 0.
  double longest() const { return longest_; }

  // No option of k devices that fits takes less time than serial + parallel / k, by either of two lines;
  // infinite where no option fits.
  struct Bounds {
    double serial = 0, parallel = kInfinity, other_serial = 0, other_parallel = 0;

    // Seconds, at least.
    double time(int devices) const {
      const double share = 1.0 / devices;
      return std::max(serial + parallel * share, other_serial + other_parallel * share);
    }

    // No option of fewer devices takes at most `time`, up to rounding; infinite where none at all does.
    double devices_for(double time) const {
      const double margin = time * (1 + kTolerance);
      const double spare = margin - serial, other_spare = margin - other_serial;
      if (!(spare > 0 && other_spare > 0)) return kInfinity;
      return std::max(parallel / spare, other_parallel / other_spare) * (1 - kTolerance);
    }
  };
  const Bounds& bounds(int first, int last, int type) const { return bounds_[at(first, last, type)]; }

  // Whether the longer line of a stage is the time of each of its options, but for rounding, and each stage
  // that has any has those of 1, 2, ... `most_options` devices: then searches need not read the options.
  bool by_lines() const { return by_lines_; }
  int most_options() const { return static_cast<int>(most_options_); }

  // The lines as if they were those of compute and of transfer.
  StageLoad load(int first, int last, int type) const {
    const Bounds& bound = bounds(first, last, type);
    return {bound.serial, bound.parallel, bound.other_serial, bound.other_parallel};
  }

  // The same in arrays, those of compute and of transfer; null where they do not fit.
  const std::shared_ptr<const StageMatrix>& matrix() const { return matrix_; }

  // Device-seconds of the layers before each cut on a type: those of a stage are no less than what lies between
  // its cuts.
  const std::vector<double>& work(int type) const { return work_[type]; }

  // The options of a stage: positions `begin` to `end - 1` among all, by devices.
  struct Range {
    std::uint32_t begin, end;
  };
  Range of(int first, int last, int type) const {
    const size_t row = static_cast<size_t>(first) * (2 * layers_ - first + 1) / 2;
    const size_t at = (row + last - first) * types_ + type;
    if (row_size_ == 0) return {listed_.begin[at], listed_.begin[at + 1]};
    const auto begin = static_cast<std::uint32_t>(at * row_size_);
    return {begin, begin + row_size_};
  }

  // The first position with at least so many devices, at least 1.
  std::uint32_t at_devices(const Range& range, int devices) const {
    const std::int64_t guess = static_cast<std::int64_t>(range.begin) + devices - 1;
    if (counted_) return static_cast<std::uint32_t>(std::min<std::int64_t>(guess, range.end));
    const int* const counts = &listed_.devices[0];
    return static_cast<std::uint32_t>(std::lower_bound(counts + range.begin, counts + range.end, devices) -
                                      counts);
  }

  // From a position on, the first option that takes at most `time` and fits, the fastest of those with as few
  // devices; the end of the range where there is none.
  std::uint32_t first_within(std::uint32_t from, const Range& range, int type, double time) const {
    return first_that(from, range, type, [time](double seconds) { return seconds <= time; });
  }

  // The next option that is faster than this one and all before it, and fits.
  std::uint32_t next_faster(std::uint32_t than, const Range& range, int type) const {
    return first_that(than + 1, range, type, [time = seconds(than)](double seconds) { return seconds < time; });
  }

  // The fastest option that fits, the first of several.
  std::uint32_t fastest(const Range& range, int type) const;

  // The option of a stage with the fewest devices that takes at most `time` and fits.
  std::optional<std::uint32_t> reach(int first, int last, int type, double time) const;

  // Its devices and time; where lines say it, not more than it takes, and less by rounding only.
  struct Fewest {
    int devices;
    double time;
  };
  std::optional<Fewest> fewest(int first, int last, int type, double time) const {
    if (by_lines_) {
      const Bounds& bound = bounds(first, last, type);
      const double least = bound.devices_for(time);
      if (!(least <= most_options_)) return std::nullopt;
      const int devices = fewest_devices(least);
      const double seconds = bound.time(devices);
      if (seconds * kOnLine <= time) return Fewest{devices, seconds};
    }
    return chosen(reach(first, last, type, time), of(first, last, type));
  }

  // The same where the option with so many devices takes longer, `slow`, and all with fewer do: where work
  // grows, one that takes `time` has as much of it at least.
  std::optional<Fewest> fewest_above(int devices, double slow, int first, int last, int type,
                                     double time) const {
    if (by_lines_) return fewest(first, last, type, time);
    return chosen(reach_above(devices, slow, first, last, type, time), of(first, last, type));
  }

  // Asks for what `fewest` will read, of a stage that is likely to get so many devices.
  void prefetch(int first, int last, int type, int devices) const {
    stageplan::prefetch(&bounds(first, last, type));
    if (!by_lines_) prefetch_option(first, last, type, devices);
  }
  void prefetch_above(int devices, double slow, int first, int last, int type, double time) const {
    if (by_lines_)
      stageplan::prefetch(&bounds(first, last, type));
    else
      prefetch_option(first, last, type, least_above(devices, slow, time));
  }

  int devices(std::uint32_t i, const Range& range) const {
    return counted_ ? static_cast<int>(i - range.begin) + 1 : listed_.devices[i];
  }
  double seconds(std::uint32_t i) const {
    return listed_.sync.empty() ? listed_.time[i] : listed_.time[i] + listed_.sync[i];
  }

 private:
  static constexpr double kGrowth = 1 - 1e-5;   // margin for the rounding of as many as kMaxDevices comparisons
  static constexpr double kOnLine = 1 + 1e-11;  // with which rounding leaves a time within its line

  struct Envelope;
  template <class Holds>
  std::uint32_t first_that(std::uint32_t from, const Range& range, int type, const Holds& holds) const {
    std::uint32_t i = from;
    while (i < range.end && (!holds(seconds(i)) || !fits(i, type))) ++i;
    if (i - from > 256) check_stop_often((i - from) / 256);
    if (i == range.end || devices(i, range) > most_devices_) return range.end;
    std::uint32_t best = i;
    while (++i < range.end && devices(i, range) == devices(best, range))
      if (seconds(i) < seconds(best) && fits(i, type)) best = i;
    return best;
  }
  bool fits(std::uint32_t i, int type) const { return all_fit_[type] || in_memory(i, type); }
  bool in_memory(std::uint32_t i, int type) const;
  int least_above(int devices, double slow, double time) const {
    if (!work_grows_ || !(time > 0)) return devices + 1;
    const double least = devices * slow / time * kGrowth;
    return std::max(devices + 1, static_cast<int>(std::min<double>(least, kMaxDevices)));
  }
  void prefetch_option(int first, int last, int type, int devices) const {
    const Range range = of(first, last, type);
    if (range.begin == range.end) return;
    const size_t guess = size_t{range.begin} + devices - 1;
    stageplan::prefetch(&listed_.time[std::min<size_t>(guess, range.end - 1)]);
  }
  std::optional<Fewest> chosen(std::optional<std::uint32_t> i, const Range& range) const {
    return i ? std::optional(Fewest{devices(*i, range), seconds(*i)}) : std::nullopt;
  }
  std::optional<std::uint32_t> reach_above(int devices, double slow, int first, int last, int type,
                                           double time) const;
  std::optional<std::uint32_t> within(std::uint32_t from, const Range& range, int type, double time) const;
  size_t at(size_t first, size_t last, size_t type) const {
    return type * StageMatrix::count(layers_) + first * (2 * layers_ - first + 1) / 2 + last - first;
  }
  void read(const Range& range, int type, Envelope& options);
  void read_each(const Range& range, int type, Envelope& options);
  void add_bounds(size_t first, size_t last, size_t type, const Envelope& options);
  void make_matrix();
  void begin_work(size_t cut);

  const ListedOptions& listed_;
  const size_t layers_, types_;
  const int most_devices_;              // of a stage
  const double examples_;               // in flight
  const std::vector<double> capacity_;  // (types,), bytes
  std::vector<char> all_fit_;           // (types,)
  std::uint32_t most_options_ = 0;      // of a stage on a type
  std::uint32_t row_size_ = 0;          // options of each stage on each type, where all have as many
  bool counted_ = true;                 // whether the options of each stage have 1, 2, ... devices
  bool fall_ = true;                    // whether all options fit and each is faster than those before it
  bool work_grows_ = true;
  bool by_lines_;               // where transfer overlaps compute: else StageLoad's time is their sum
  std::vector<Bounds> bounds_;  // by type, first layer and last layer, as those of a graph
  std::shared_ptr<const StageMatrix> matrix_;
  std::vector<std::vector<double>> work_;  // by type, (layers + 1,)
  double longest_ = 0;
};

}  // namespace stageplan
