// The planning problem: validated, immutable arrays. Everything else reads them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace stageplan {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The one tolerance: a number meets an upper limit when it exceeds it by at most this fraction.
inline constexpr double kTolerance = 1e-9;

// No stage holds more devices than this, whatever the target.
inline constexpr int kMaxDevices = 1 << 20;

// Genes are int8.
inline constexpr int kMaxLabels = 128;

inline bool meets(double value, double limit) { return value <= limit * (1 + kTolerance); }

// How far `value` is above `limit`, as a fraction of it; 0 where the limit is met.
inline double excess(double value, double limit) { return meets(value, limit) ? 0.0 : value / limit - 1; }

enum class Objective { cost, throughput, price };
enum class Merge { adjacent, type };

// Produced by one layer, consumed by others; the caller has checked that these layers exist.
struct Tensor {
  int producer;
  std::vector<int> consumers;
  double bytes;
};

enum class Schedule { none, gpipe, one_f_one_b };

// Numbers that the caller keeps, such as those of an array of Python.
template <class T>
class Shared {
 public:
  Shared() = default;
  Shared(std::shared_ptr<const T> values, size_t size) : values_(std::move(values)), size_(size) {}
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const T& operator[](size_t i) const { return values_.get()[i]; }
  const T& back() const { return (*this)[size_ - 1]; }

 private:
  std::shared_ptr<const T> values_;
  size_t size_ = 0;
};

// Options listed by the caller. Those of a stage on a type are at begin[i] to begin[i + 1] - 1, by devices; i
// counts the stages by first and last layer, and the types of each.
struct ListedOptions {
  Shared<std::uint32_t> begin;         // empty where no options are listed
  bool counted = false;                // those of a stage have 1, 2, ... devices, each one a replica
  Shared<int> devices;                 // unless counted
  Shared<int> column, replicas;        // empty: the first column of the type, and 1
  Shared<double> time, pass, sync;     // seconds an example; empty: `time`, and 0
  Shared<double> memory, activations;  // bytes a device, and for each example in flight; empty: 0

  bool empty() const { return begin.empty(); }
  size_t size() const { return counted ? time.size() : devices.size(); }

  // Devices of an option, of those of a stage that begin at a position.
  int devices_of(size_t i, size_t begins) const {
    return counted ? static_cast<int>(i - begins) + 1 : devices[i];
  }
};

// Strategies, memory by position, schedules and all-reduce. A column is a device type and a strategy.
// Matrices are (layers, columns), row-major.
struct Columns {
  std::vector<int> type, degree, strategy;                       // (columns,); strategy: index of its name
  std::vector<double> compute, send, receive, compute_parallel;  // seconds an example, fractions
  std::vector<double> memory, sharded, activations, workspace, gradients;  // bytes a device
  std::vector<double> update;                                              // seconds an iteration
  std::vector<double> link, network, machine;  // (types,); bytes/s, devices a machine; infinity where absent
  ListedOptions listed;                        // if any, they replace those of the columns
  Schedule schedule = Schedule::none;
  int microbatches = 1;  // 1 without a schedule
  double batch = 1;      // examples an iteration; a multiple of microbatches
  int max_stages = std::numeric_limits<int>::max();
  bool whole_machines = false, same_strategy = false, same_replicas = false, equal_shares = false;

  int count() const { return static_cast<int>(type.size()); }
};

struct PlanCost;

// The input of the caller; absent numbers are `kInfinity`. Matrices are (layers, types), row-major. With
// columns, only these define the cost of stages; the matrices describe the layers to policies.
struct ProblemData {
  int layers = 0;
  int types = 0;
  std::vector<double> compute, send, receive, compute_parallel;  // (layers, types); seconds, fractions
  std::vector<double> transfer_parallel;                         // (types,)
  std::vector<double> memory;                                    // (layers,); bytes
  std::vector<double> workspace;  // (layers,), or empty; bytes while the layer runs: a stage has the largest
  std::vector<double> price, limit, capacity, bandwidth;  // (types,)
  std::vector<int> kinds;                                 // (layers,); kind of layer: 0, or 256 + an 8-bit code
  std::vector<Tensor> tensors;
  double fixed_price = 0, examples = 1;
  double min_throughput = 0, max_duration = kInfinity, max_cost = kInfinity, max_price = kInfinity;
  Objective objective = Objective::cost;
  Merge merge = Merge::adjacent;
  bool overlap = true;
  bool split = false;
  int max_devices_per_stage = kMaxDevices;
  std::shared_ptr<const Columns> columns;     // null: one strategy a type, no schedule
  std::shared_ptr<const PlanCost> plan_cost;  // ranks the plans, which are provisioned for the objective
};

class Problem;
class OptionLists;

// Made on first use. A copy belongs to another problem and makes its own.
class LazyOptionLists {
 public:
  LazyOptionLists() = default;
  LazyOptionLists(const LazyOptionLists&) {}
  LazyOptionLists& operator=(const LazyOptionLists&) = delete;
  const OptionLists& of(const Problem& problem) const;

 private:
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const OptionLists> lists_;
};

class Problem : private ProblemData {
 public:
  // Throws std::invalid_argument, naming the Python argument, the value and what is allowed.
  explicit Problem(ProblemData data);

  using ProblemData::bandwidth, ProblemData::capacity, ProblemData::columns, ProblemData::compute,
      ProblemData::compute_parallel, ProblemData::examples, ProblemData::fixed_price, ProblemData::kinds,
      ProblemData::layers, ProblemData::limit, ProblemData::max_cost, ProblemData::max_devices_per_stage,
      ProblemData::max_price, ProblemData::memory, ProblemData::merge, ProblemData::objective,
      ProblemData::overlap, ProblemData::plan_cost, ProblemData::price, ProblemData::receive, ProblemData::send,
      ProblemData::tensors, ProblemData::transfer_parallel, ProblemData::types, ProblemData::workspace;

  const ProblemData& data() const { return *this; }

  // The same problem with another merge rule.
  Problem with(Merge merge) const {
    ProblemData data = *this;
    data.merge = merge;
    return Problem(std::move(data));
  }

  // Whether stages are chosen among options (model/options.h), and not sized by Amdahl's law alone.
  bool by_options() const { return columns != nullptr; }

  // These options (model/option_lists.h); only where stages are chosen among them.
  const OptionLists& option_lists() const;

  int labels() const { return static_cast<int>(label_types_.size()); }
  int type_of(int label) const { return label_types_[label]; }
  const std::vector<int>& label_types() const { return label_types_; }

  // Whether neighbouring stages may be on the same type, under its two labels.
  bool neighbours_may_share_type() const { return labels() > types; }

  // Whether the devices of any type are limited.
  bool limits_devices() const { return *std::min_element(limit.begin(), limit.end()) < kInfinity; }

  // The violation of one device above the limit of a type.
  const std::vector<double>& limit_weight() const { return limit_weight_; }

  // Cost in $ per second of stage time and $/hour of price.
  double cost_scale() const { return cost_scale_; }

  // The longest stage time that the goal allows, seconds per example; infinity if it sets none.
  double goal_time() const { return goal_time_; }

 private:
  std::vector<int> label_types_;
  std::vector<double> limit_weight_;
  double goal_time_, cost_scale_;
  LazyOptionLists option_lists_;
};

// One scored scheme.
struct Score {
  double cost = kInfinity;  // $
  double time = kInfinity;  // slowest stage, seconds per example
  double violation = kInfinity;
  double price = kInfinity;  // $/hour
};

// The value to minimise: $, seconds per example or $/hour. Where a plan cost ranks the plans, scorers write it
// in the place of this value (kernels/plan_cost_scorer.h).
inline double objective_of(const Problem& problem, const Score& score) {
  if (problem.objective == Objective::cost) return score.cost;
  return problem.objective == Objective::throughput ? score.time : score.price;
}

// Whether `a` ranks before `b`: less violation, then the better objective, then the shorter time, or for
// objective throughput the lower cost.
inline bool better(const Problem& problem, const Score& a, const Score& b) {
  if (a.violation != b.violation) return a.violation < b.violation;
  const double first_a = objective_of(problem, a), first_b = objective_of(problem, b);
  if (first_a != first_b) return first_a < first_b;
  return problem.objective == Objective::throughput ? a.cost < b.cost : a.time < b.time;
}

// Scores a provisioned scheme: `counts` devices of each type, slowest stage `time`, and the violation of its
// single stages (memory, unsupported layers).
Score price_plan(const Problem& problem, const std::int64_t* counts, double time, double stage_violation);

// The same from the price per hour and the violation of the device limits. Kernels inline it.
inline Score price_plan(const Problem& problem, double time, double price, double devices,
                        double stage_violation) {
  Score score;
  score.time = time;
  score.price = price;
  score.cost = problem.cost_scale() * time * price;
  score.violation = stage_violation + (devices + excess(price, problem.max_price)) +
                    excess(time, problem.goal_time()) + excess(score.cost, problem.max_cost);
  return score;
}

// Violation of the limits on devices of each type.
double limit_violation(const Problem& problem, const std::int64_t* counts);

// The part of the violation that only grows as devices are added: devices of a type, hourly price.
double device_violation(const Problem& problem, const std::int64_t* counts);

// $/hour of `counts` devices of each type.
double hourly_price(const Problem& problem, const std::int64_t* counts);

// A positive upper bound of stage times, seconds per example: all layers are computed,
// each sends and receives, and all tensors are moved.
double longest_time(const Problem& problem);

}  // namespace stageplan
