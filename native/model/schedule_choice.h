// Options of the stages of one scheme under a schedule: the slowest stage, the sum of all and the all-reduce
// all count, so that stages cannot be decided one by one.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/options.h"

namespace stageplan {

// What a stage may be, by devices; never empty.
struct StageOptions {
  int type = 0;
  std::vector<Option> options;
};

// Branch and bound over the slowest stage time and the longest all-reduce: between two values of each, the
// least sums of price and time over the stages bound the plan; where few values are left, label setting over
// the stages finds the best one. Keeps its buffers; one object a thread.
class ScheduleChoice {
 public:
  explicit ScheduleChoice(const Problem& problem)
      : problem_(problem), columns_(*problem.columns), plan_(problem) {}

  // The number of the option of each stage, of the plan that violates least and then serves the goal best;
  // where the goal's time is out of reach, of the fastest plans that with the fewest devices.
  const std::vector<int>& choose(std::span<const StageOptions> stages, std::uint64_t most_work);

  // Whether the last answer is proven, and not the best one after `most_work` options and labels were looked
  // at.
  bool complete() const { return work_ < most_work_; }

 private:
  enum class Aim { fastest, fewest, best };

  struct Value {
    double violation, objective;
  };

  // Plans whose slowest stage time and longest all-reduce have these ranks.
  struct Box {
    int slow_from, slow_to, sync_from, sync_to;
    Value bound;
  };

  // Sums over stages. As a bound: each of the sums alone, and weight_ * price + pass >= line.
  struct Sums {
    double price = 0, pass = 0, line = 0;
  };

  // Some stages, chosen.
  struct Label {
    double price, pass, slowest, sync;
    int parent, option;
  };

  struct Corner {
    double price, pass;
    int option;
  };

  // From one option of a stage to one with more devices, on the lower hull of price and pass time.
  struct Edge {
    double ratio, price, pass;
    int stage, option;
  };

  void collect_values();
  bool in_reach();
  void run(Aim aim, double most_time);
  void visit(Box box);
  bool allow(const Box& box);
  Value bound(const Box& box);
  void find_edges(int stage);
  void try_hull(const Box& box);
  Value corner_value(const Label& at) const;
  double line(int stage) const;
  void divide(const Box& box);
  void push(const Box& box);
  void set_labels(const Box& box);
  void find_rests();
  void extend(int stage);
  void drop_dominated(bool by_sums_alone);
  bool dominates(size_t a, size_t b) const;
  void consider_label(size_t label);
  Value bound(const Label& done, const Sums& rest, double broken) const;
  double broken(const int* counts, const int* rest) const;
  void consider(const std::vector<int>& choice);
  bool promising(const Value& value) const { return improves(value, best_); }
  static bool improves(const Value& now, const Value& best);
  static bool later(const Box& a, const Box& b);
  const Option& option(int stage, int number) const { return stages_[stage].options[number]; }
  int count() const { return static_cast<int>(stages_.size()); }
  double price(int stage, const Option& option) const {
    return (aim_ == Aim::fewest ? 1 : problem_.price[stages_[stage].type]) * option.devices;
  }
  double fixed_price() const { return aim_ == Aim::fewest ? 0 : problem_.fixed_price; }

  const Problem& problem_;
  const Columns& columns_;
  std::span<const StageOptions> stages_;
  OptionPlan plan_;
  std::vector<double> slows_, syncs_;  // that a plan may have, in order
  Aim aim_ = Aim::best;
  double most_time_ = 0;        // that a plan may take
  double stage_violation_ = 0;  // what stages violate, and how many there are
  std::vector<Box> boxes_;      // a heap, the best bound first
  Value best_{};
  std::vector<int> best_choice_;
  std::uint64_t work_ = 0, most_work_ = 0;

  // Of the box that is visited.
  std::vector<std::vector<int>> allowed_;  // options of each stage
  std::vector<int> least_, fastest_;       // of them, with the fewest devices and with the least pass time
  Sums sums_;                              // bounds of all stages
  double weight_ = 0;                      // of the price in `line`; 0: there is no line
  std::vector<Corner> hull_;               // of a stage
  std::vector<Edge> edges_;
  std::vector<int> choice_;

  // Of label setting.
  std::vector<int> counted_;                // types whose devices are counted
  std::vector<int> slot_;                   // of each type among these, -1 where it is not
  std::vector<Sums> rests_;                 // of the stages from each one on
  std::vector<int> rest_counts_;            // (stages + 1, counted)
  std::vector<std::vector<Label>> levels_;  // labels of the stages before each one
  std::vector<Label> next_, kept_;
  std::vector<int> counts_, next_counts_, kept_counts_;  // (labels, counted)
  std::vector<int> order_;
};

}  // namespace stageplan
