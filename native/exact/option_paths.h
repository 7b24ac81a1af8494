// Shortest paths through the options of stages, where the position of a stage says which options fit.
#pragma once

#include <vector>

#include "exact/option_graph.h"

namespace stageplan {

// What the arcs of a path count for.
struct ArcWeights {
  double time, price;           // of the seconds of passing through, and of the $/hour
  std::vector<double> devices;  // of a device of each type

  double operator()(const OptionArc& arc) const {
    return time * arc.pass + price * arc.price + devices[arc.type] * arc.devices;
  }
};

// Keeps its buffers between calls. The paths from any cut to the end, or from the start to it, are told apart
// by the type and the position of the stage there.
class OptionPaths {
 public:
  // `positions`: all of the graph's or the first of them.
  OptionPaths(const Problem& problem, const Positions& positions);

  const Positions& positions() const { return positions_; }

  // The least weight of all paths; infinity where there are none.
  double to_end(const OptionGraph& graph, const ArcWeights& weights);
  double from_start(const OptionGraph& graph, const ArcWeights& weights);

  // A path of least weight of the last to_end.
  OptionPath path(const OptionGraph& graph, const ArcWeights& weights) const;

  // The least weight of what may stand before a stage from a cut on, and of what may stand behind one that ends
  // there; by its position.
  const double* before(int cut, int type) const { return &before_[row(cut, type)]; }
  const double* after(int cut, int type) const { return &after_[row(cut, type)]; }

 private:
  size_t row(int cut, int type) const { return (static_cast<size_t>(cut) * types_ + type) * stride_; }
  void leave_out_type(double* rows);
  void shift(double* rows) const;

  const int layers_, types_;
  const bool types_repeat_;
  const Positions positions_;
  const size_t stride_;                 // positions and 0, the end
  std::vector<double> before_, after_;  // (layers + 1, types, stride)
  std::vector<double> least_, second_;  // (stride,)
};

}  // namespace stageplan
