// The cost of plans by a function of the caller, and what this function reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "model/merge.h"
#include "model/options.h"

namespace stageplan {

// A provisioned stage. src/stageplan/plan_cost.py has the same fields in the same order.
struct StageRecord {
  std::int32_t first, last, layers;  // the number of layers is less than last - first + 1 with Merge::type only
  std::int32_t type, column;         // without columns: the type
  std::int32_t devices, replicas, in_flight;
  double time, compute, transfer, sync;  // seconds an example
  double memory;                         // bytes a device
  double price;                          // $/hour
};

// A provisioned plan, likewise.
struct PlanRecord {
  double time, throughput;  // seconds an example, examples a second
  double duration;          // seconds
  double price, cost;       // $/hour, $
};

// What the function sees of a stage: some fields of its record, packed into lines of 16 bytes. The fewer, the
// more stages the caches hold.
class StageLayout {
 public:
  struct alignas(16) Line {
    std::byte bytes[16];
  };
  static constexpr size_t kWords = sizeof(Line) / sizeof(std::int32_t);
  static constexpr size_t kMostLines = sizeof(StageRecord) / sizeof(Line);

  // `words`: of each 4 bytes of the lines, those of the record that they hold, by number. Throws
  // std::invalid_argument.
  explicit StageLayout(std::vector<int> words);

  size_t lines() const { return words_.size() / kWords; }

  // Writes the lines of a stage; returns their end.
  Line* pack(const StageRecord& stage, Line* to) const;

 private:
  std::vector<int> words_;
};

StageRecord make_record(const Problem& problem, const Stage& stage, int layers, int devices);
StageRecord make_record(const Problem& problem, const Stage& stage, const Option& option, int in_flight);
PlanRecord make_record(const Problem& problem, const Score& score);

// The function is called from several threads. It depends on its arguments only: less is better, and infinity
// stands for a plan that is not allowed.
struct PlanCost {
  // The costs of `count` plans: the stages of plan i end before number ends[i]. Returns the number of the first
  // plan for which the function raises an error, or `count`.
  using Function = std::int64_t (*)(StageLayout::Line* stages, const std::int64_t* ends, PlanRecord* plans,
                                    std::int64_t count, const void* constants, double* costs);
  std::string name;
  Function function;
  const void* constants;
  StageLayout layout;

  static constexpr double kLargest = 1e150;  // magnitude of a finite cost
};

// What is wrong with the cost of one plan.
struct PlanCostError : std::runtime_error {
  PlanCostError(const std::string& what, bool raised, std::vector<StageLayout::Line> stages,
                const PlanRecord& plan)
      : std::runtime_error(what), raised(raised), stages(std::move(stages)), plan(plan) {}
  bool raised;  // whether the function raised an error
  std::vector<StageLayout::Line> stages;
  PlanRecord plan;
};

// Plans whose costs are computed together.
class PlanBlock {
 public:
  using Line = StageLayout::Line;

  explicit PlanBlock(const PlanCost& cost) : cost_(cost) {}

  // Where to write the stages of the next plan, at most `most`.
  Line* next_stages(size_t most) {
    const size_t size = count_ + most * cost_.layout.lines();
    if (stages_.size() < size) stages_.resize(size);
    return stages_.data() + count_;
  }

  // Adds a plan, whose stages have been written up to `end`.
  void add(const PlanRecord& plan, const Line* end) {
    count_ = static_cast<size_t>(end - stages_.data());
    plans_.push_back(plan);
    ends_.push_back(static_cast<std::int64_t>(count_ / cost_.layout.lines()));
  }

  // The size of the stages of all plans.
  size_t lines() const { return count_; }

  // The costs of the plans, in their order; valid until the next call. Throws PlanCostError. Begins anew.
  const std::vector<double>& take_costs();

 private:
  size_t compute(size_t plans, double* costs);
  void check(size_t plan, double cost) const;
  void repeat_first();
  [[noreturn]] void fail(size_t plan, const std::string& what, bool raised) const;

  const PlanCost& cost_;
  bool repeated_ = false;     // whether the function has been called twice with one plan
  size_t count_ = 0;          // lines of all plans
  std::vector<Line> stages_;  // these, and room for more
  std::vector<std::int64_t> ends_;
  std::vector<PlanRecord> plans_;
  std::vector<double> costs_;
};

}  // namespace stageplan
