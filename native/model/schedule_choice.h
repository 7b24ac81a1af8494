// Options of the stages of one scheme under a schedule: the slowest stage, the sum over stages and the
// all-reduce all count, so that stages cannot be decided one by one.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/options.h"

namespace stageplan {

// The options of a stage, sorted by devices; never empty.
struct StageOptions {
  int type = 0;
  std::vector<Option> options;
};

// Branch and bound over the slowest stage time and the longest all-reduce: between two values of each, the
// minimal sums of price and time over the stages bound the plan; if few values are left, label setting over the
// stages finds the best one. Keeps its buffers; one object per thread.
class ScheduleChoice {
 public:
  explicit ScheduleChoice(const Problem& problem)
      : problem_(problem), columns_(*problem.columns), plan_(problem) {}

  // The index of the option of each stage, in the plan with the least violation and then the best objective; if
  // the goal's time is out of reach, in the fastest plan with the fewest devices.
  const std::vector<int>& choose(std::span<const StageOptions> stages, std::uint64_t max_work);

  // Whether the last answer is proven; otherwise it is the best one that was found within
  // `max_work` options and labels.
  bool complete() const { return work_ < max_work_; }

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

  // Sums over stages. As a bound: each of the sums separately, and weight_ * price + pass >= line.
  struct Sums {
    double price = 0, pass = 0, line = 0;
  };

  // Chosen options of some stages.
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
  void run(Aim aim, double max_time);
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
  std::vector<double> slows_, syncs_;  // values that a plan may have, sorted
  Aim aim_ = Aim::best;
  double max_time_ = 0;         // limit on the time of a plan
  double stage_violation_ = 0;  // of the stages, and of their number
  std::vector<Box> boxes_;      // a heap, the best bound first
  Value best_{};
  std::vector<int> best_choice_;
  std::uint64_t work_ = 0, max_work_ = 0;

  // Of the current box.
  std::vector<std::vector<int>> allowed_;  // options of each stage
  std::vector<int> least_, fastest_;       // of these: the fewest devices, the least pass time
  Sums sums_;                              // bounds of all stages
  double weight_ = 0;                      // of the price in `line`; 0: no line
  std::vector<Corner> hull_;               // of a stage
  std::vector<Edge> edges_;
  std::vector<int> choice_;

  // Of label setting.
  std::vector<int> counted_;                // types whose devices are counted
  std::vector<int> slot_;                   // index of each type in counted_, or -1
  std::vector<Sums> rests_;                 // of the stages from each one to the end
  std::vector<int> rest_counts_;            // (stages + 1, counted)
  std::vector<std::vector<Label>> levels_;  // labels of the stages before each one
  std::vector<Label> next_, kept_;
  std::vector<int> counts_, next_counts_, kept_counts_;  // (labels, counted)
  std::vector<int> order_;
};

}  // namespace stageplan
