// The exact search where stages are chosen among options: branch and bound over the slowest stage time and the
// longest all-reduce. All plans between two values of each are paths through one graph; shortest paths for
// several weightings of time against price bound them and are plans themselves; where few stages are left that
// may be in a better plan, labels find the best one.
#pragma once

#include <memory>
#include <vector>

#include "exact/option_relaxation.h"
#include "search/search.h"

namespace stageplan {

class OptionSearch : public Search {
 public:
  // `initial`: schemes to begin with. Throws std::invalid_argument unless stages are chosen among options.
  OptionSearch(const Problem& problem, const Genes& initial);

  // A slice of the work: some boxes.
  void step() override;

  // Goes on while the next box looks as if it stays within so much work in all.
  void advance(std::uint64_t work);

  double bound() const override;
  void transfer(State& state) override;

  // Arcs and labels looked at so far.
  std::uint64_t work() const override { return work_; }

  // The best scheme and those looked at lately.
  Genes tried() const override;

 private:
  // All plans of a group of options whose slowest stages are of a range.
  struct Box {
    SlowestRange range;
    double bound;  // of the objective of any plan in it
    std::shared_ptr<const OptionGraph> graph;
    std::vector<Weighting> weightings;
    size_t width;  // of the labels
  };

  // The path that would be the best one if its slowest stages took the least times of the range.
  struct Closest {
    OptionPath path;
    double objective = kInfinity;
  };

  void transfer(State& state, Box& box, SharedState<OptionGraph>& graphs) const;
  static bool later(const Box& a, const Box& b) { return a.bound > b.bound; }
  void start();
  void open_group(const OptionGroup& group, int stride);
  void try_coarsely(const OptionGroup& group, int stride);
  void process_next();
  std::uint64_t next_work() const;
  void look_into(Box box);
  void limit_range(SlowestRange& range) const;
  bool bound_box(Box& box, Closest& closest);
  bool narrow_box(Box& box, const Positions& positions, Closest& closest);
  bool ready_for_labels(const SlowestRange& range) const;
  void set_labels(Box& box, const OptionRelaxation& relaxation);
  void try_path(const OptionPath& path);
  void compare(const OptionPath& path, const SlowestRange& range, Closest& closest) const;
  void divide(Box box, const OptionPath& path);
  void halve(Box box);
  bool split_time(const Box& box, double time);
  bool split_sync(const Box& box, double sync);
  void push(Box box);
  Box pop();
  bool closed(double bound) const;
  void update_worth();

  const PlanTerms terms_;
  Worth worth_;                   // of plans that are better than the best
  std::vector<Box> open_;         // a heap, the least bound first
  OptionGraph graph_;             // of the box that is looked into
  std::vector<Genes> recent_;     // schemes that were the best lately
  double abandoned_ = kInfinity;  // bound of the boxes given up as too hard
  std::uint64_t work_ = 0;
  bool started_ = false;
};

}  // namespace stageplan
