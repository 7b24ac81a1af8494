// What a stage may be: devices, times and memory of every strategy and number of replicas. From these, and the
// score of a plan that chose among them, everything is searched that is not Amdahl's law alone.
#pragma once

#include <cstdint>
#include <vector>

#include "model/stage_table.h"

namespace stageplan {

// No option has more devices, unless `max_devices_per_stage` says more.
inline constexpr int kMaxOptionDevices = 256;

struct Option {
  int devices;  // of all replicas
  int column;   // device type and strategy; the listed option's number where options are listed
  int replicas;
  double time;    // seconds an example in the steady state; without a schedule with its part of the all-reduce
  double pass;    // seconds an example of compute and transfer, for fill and drain; 0 without a schedule
  double sync;    // seconds an example of all-reduce and update; 0 without a schedule
  double memory;  // bytes a device that stay
  double flight;  // bytes a device of each microbatch in flight
  double violation;  // memory over the capacity at the position asked for, layers that it cannot run
  int fits = 0;      // with how many microbatches in flight it fits, where `fitting` lists it
};

// What an option is made of: seconds an example, whatever the schedule; bytes a device.
struct OptionParts {
  double compute, transfer, sync;
  double memory, flight;
};

// Under `same_strategy` and `same_replicas` the options of all stages are of one group; -1: of any.
struct OptionGroup {
  int strategy = -1, replicas = -1;
  bool operator==(const OptionGroup&) const = default;
};

// Options of all intervals of layers on all types, made when asked for. The same from all threads.
class Options {
 public:
  explicit Options(const Problem& problem);

  // Microbatches in flight in a stage, `stages` being the number of stages from it to the end with itself.
  int in_flight(int stages) const;

  // The most of it in any stage of any plan.
  int most_in_flight() const { return in_flight(problem_.layers); }

  // Replaces `options` by what a stage may be with so many microbatches in flight: of each group the options
  // of least violation, without dominated ones, by devices. Empty only where options are listed and none is.
  void list(int first, int last, int type, int in_flight, std::vector<Option>& options) const;

  // Replaces `options` by those that run all layers and fit with at least one microbatch in flight, `fits`
  // being the most: of each group without those that another one, which fits as often, dominates; by devices.
  void list_fitting(int first, int last, int type, std::vector<Option>& options) const;

  // With how many microbatches in flight an option fits into its device; 0 where it never does.
  int fits(const Option& option, int type) const;

  OptionParts parts(int first, int last, const Option& option) const;

  OptionGroup group_of(const Option& option) const;

  // All groups that any option is of; one that takes all in where nothing has to be the same.
  const std::vector<OptionGroup>& groups() const { return groups_; }

  // What a stage without any option violates.
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
  int most_replicas(int column) const;
  double transfer(int first, int last, int column) const;
  double workspace(int first, int last, int column) const;
  size_t arc(int first, int last, int type) const;
  void index_listed();
  void keep_best(std::vector<Option>& options) const;

  const Problem& problem_;
  const Columns& columns_;
  IntervalBytes bytes_;
  std::vector<std::vector<int>> columns_of_;       // (types,)
  std::vector<Prefix> prefix_;                     // (layers + 1, columns)
  std::vector<std::vector<double>> workspace_;     // [k](layers, columns): the most of 2^k layers from one on
  std::vector<std::uint32_t> listed_, listed_at_;  // numbers of listed options by arc; where each arc's begin
  std::vector<OptionGroup> groups_;
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
