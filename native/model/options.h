// Options of stages: devices, times and memory for every strategy and number of replicas. Searches that go
// beyond Amdahl's law read only these and the score of a plan made of them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "model/stage_table.h"

namespace stageplan {

// No option has more devices, unless `max_devices_per_stage` says more.
inline constexpr int kMaxOptionDevices = 256;

class ListedStages;

struct Option {
  int devices;  // of all replicas
  int column;   // device type and strategy
  int replicas;
  double time;    // seconds an example in the steady state; without a schedule with its part of the all-reduce
  double pass;    // seconds an example of compute and transfer, for fill and drain; 0 without a schedule
  double sync;    // seconds an example of all-reduce and update; 0 without a schedule
  double memory;  // bytes per device, resident
  double flight;  // bytes per device for each microbatch in flight
  double violation;  // memory over the capacity at the given position, unsupported layers
  int fits = 0;      // maximum microbatches in flight with which it fits, set by `list_fitting`
};

// The parts of an option: seconds per example, whatever the schedule; bytes per device.
struct OptionParts {
  double compute, transfer, sync;
  double memory, flight;
};

// Under `same_strategy` and `same_replicas` the options of all stages must be of one group; -1: any.
struct OptionGroup {
  int strategy = -1, replicas = -1;
  bool operator==(const OptionGroup&) const = default;
};

// Options of all intervals of layers on all types, computed on demand. Thread-safe.
class Options {
 public:
  explicit Options(const Problem& problem);

  // Microbatches in flight in a stage; `stages`: the number of stages from it to the end, itself included.
  int in_flight(int stages) const;

  // Its maximum over all stages of all plans.
  int most_in_flight() const { return in_flight(problem_.layers); }

  // Replaces `options` by those of a stage with a given number of microbatches in flight: of each group the
  // non-dominated ones of least violation, sorted by devices. Empty if the stage has no option.
  void list(int first, int last, int type, int in_flight, std::vector<Option>& options) const;

  // Replaces `options` by those that run all layers and fit with at least one microbatch in flight: of each
  // group the non-dominated ones, counting a larger `fits` as better; sorted by devices.
  void list_fitting(int first, int last, int type, std::vector<Option>& options) const;

  // Whether the non-dominated options are known by their devices alone: more devices take less time. So it is
  // without schedules, unless replicas have to be the same or all-reduce may take the longer the more there
  // are; listed options are searched for those.
  bool times_fall() const { return times_fall_; }

  // Where times fall: of a group, the option that takes at most `time` with the fewest devices, but with at
  // least `devices`, and fits; without devices where there is none.
  Option first_within(int first, int last, int type, const OptionGroup& group, double time, int devices) const;

  // Where times fall: the least time, from `low` on, of the options with at least `devices`; infinity where
  // there is none.
  double least_time_from(int first, int last, int type, const OptionGroup& group, double low,
                         int devices) const;

  // The listed option of a position, of a stage on a type whose options begin at another.
  Option listed(size_t i, size_t begins, int type) const;

  // Listed options without a schedule; null where there are none.
  const ListedStages* listed_stages() const { return listed_stages_.get(); }

  // The maximum number of microbatches in flight with which an option fits into its device; 0 if none.
  int fits(const Option& option, int type) const;

  OptionParts parts(int first, int last, const Option& option) const;

  OptionGroup group_of(const Option& option) const;

  // All groups that have options; a single one for all where nothing has to be the same.
  const std::vector<OptionGroup>& groups() const { return groups_; }

  // The violation of a stage without options.
  static double missing(int first, int last) { return last - first + 1; }

 private:
  struct Prefix {
    PreciseSum serial, parallel, memory, sharded, activations, gradients, update;
    int unsupported = 0;
  };
  struct Sums;

  void add_all(int first, int last, int type, int in_flight, std::vector<Option>& options) const;
  void add_listed(int first, int last, int type, int in_flight, std::vector<Option>& options) const;
  void add_column(int first, int last, int column, int in_flight, std::vector<Option>& options) const;
  Sums sums(int first, int last, int column) const;
  OptionParts parts(const Sums& sums, int column, int replicas) const;
  Option make(const Sums& sums, int column, int replicas) const;
  int max_replicas(int column) const;
  double transfer(int first, int last, int column) const;
  double workspace(int first, int last, int column) const;
  size_t arc(int first, int last, int type) const;
  void find_groups();
  Option first_listed(int first, int last, int type, const OptionGroup& group, double time, int devices) const;
  double least_listed(int first, int last, int type, const OptionGroup& group, double low, int devices) const;
  void keep_best(std::vector<Option>& options) const;
  bool in_group(int column, const OptionGroup& group) const {
    return columns_.degree[column] <= problem_.max_devices_per_stage &&
           (group.strategy < 0 || columns_.strategy[column] == group.strategy);
  }
  // Whether so many replicas may share a microbatch: with `equal_shares`, only if each gets as many examples.
  bool may_share(int replicas) const {
    if (!columns_.equal_shares || columns_.schedule == Schedule::none) return true;
    return std::fmod(columns_.batch / columns_.microbatches, replicas) == 0;
  }
  int first_replicas(int column, int devices) const {
    return std::max(1, (devices + columns_.degree[column] - 1) / columns_.degree[column]);
  }

  const Problem& problem_;
  const Columns& columns_;
  IntervalBytes bytes_;
  std::vector<std::vector<int>> columns_of_;    // (types,)
  std::vector<Prefix> prefix_;                  // (layers + 1, columns)
  std::vector<std::vector<double>> workspace_;  // [k](layers, columns): the maximum over 2^k layers from one on
  std::vector<OptionGroup> groups_;
  bool times_fall_;
  std::shared_ptr<const ListedStages> listed_stages_;
};

// Adds up a plan, stage by stage, and scores it.
class OptionPlan {
 public:
  explicit OptionPlan(const Problem& problem) : problem_(problem), counts_(problem.types) {}
  void clear();
  void add(const Option& option, int type);
  void add_violation(double violation) { violation_ += violation; }

  // Seconds an example: the steady state, fill and drain, and all-reduce once an iteration.
  double time() const;

  // Devices of each type that are rented: whole machines where the problem asks for them.
  const std::vector<std::int64_t>& rented();

  Score score();

 private:
  const Problem& problem_;
  std::vector<std::int64_t> counts_, rented_;
  double slowest_ = 0, pass_ = 0, sync_ = 0, violation_ = 0;
  int stages_ = 0;
};

// Devices of a type that are paid for: those of whole machines where the problem asks for them.
std::int64_t rented(const Columns& columns, int type, std::int64_t devices);

// The formula of OptionPlan::time.
double plan_time(const Columns& columns, double slowest, double pass, double sync);

}  // namespace stageplan
