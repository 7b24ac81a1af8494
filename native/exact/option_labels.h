// The best plan of a graph of options: all ends of plans, from the last stage on, as labels (passes, price,
// slowest stage, all-reduce, devices of the types whose limits count), less those that another one dominates or
// that the relaxation rules out.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "exact/option_relaxation.h"

namespace stageplan {

class OptionLabels {
 public:
  // At each cut, type and position at most `width` labels are kept, those that promise most.
  OptionLabels(const Problem& problem, const PlanTerms& terms, const OptionGraph& graph,
               const SlowestRange& range, const OptionRelaxation& relaxation, size_t width);

  // Shows complete plans, the most promising first, until it returns false.
  using Visit = std::function<bool(const OptionPath&, double bound)>;
  void run(const Visit& visit);

  // No plan that passes through a label given up is better; infinity where none was.
  double given_up() const { return given_up_; }
  std::uint64_t work() const { return work_; }

 private:
  struct Label {
    double pass, price, time, sync, bound;
    int next, arc;  // the label that it goes on with (kept), and by which arc; -1 at the end
    int own;        // its number, once it is kept
    size_t counts;  // where its devices begin
  };
  // Of the stages that begin at a cut, by type and position.
  struct State {
    std::vector<Label> labels;
    std::vector<std::int32_t> counts;
  };
  struct Kept {
    int next, arc;
  };
  // Of a type whose limit some path breaks.
  struct Limit {
    int type;
    OptionPaths fewest;  // devices before each cut
  };

  void find_limits();
  void extend_all(int number, int position);
  void extend(int number, int position, const State& from, const Label& label);
  bool breaks_limit(const OptionArc& arc, int position) const;
  double rent() const;
  void prune(State& state);
  bool dominates(const State& state, const Label& a, const Label& b) const;
  OptionPath path_of(const Label& label) const;
  State& state(int cut, int type, int position) {
    return states_[(static_cast<size_t>(cut) * problem_.types + type) * stride_ + position];
  }

  const Problem& problem_;
  const PlanTerms& terms_;
  const OptionGraph& graph_;
  const SlowestRange& range_;
  const OptionRelaxation& relaxation_;
  const size_t width_;
  const bool priced_;  // whether the price of a plan matters
  const size_t stride_;
  std::vector<Limit> limits_;
  std::vector<int> compared_;  // types whose devices tell labels apart
  size_t counted_ = 0;         // types whose devices are counted: all, or none where none is compared
  std::vector<State> states_;  // (layers + 1, types, stride)
  std::vector<Kept> kept_;
  std::vector<std::int32_t> counts_;  // of the label being made
  double given_up_ = kInfinity;
  std::uint64_t work_ = 0;
};

}  // namespace stageplan
