// The stages that plans of a given speed may contain, as arcs of a graph whose nodes are the cuts between
// layers: a plan is a path from the first cut to the last.
#pragma once

#include <vector>

#include "common/state.h"
#include "exact/stage_source.h"

namespace stageplan {

// The least total at a cut, and the least one whose arc there has another type.
struct Least {
  double best = kInfinity, second = kInfinity;
  int arc = -1, second_arc = -1, type = -1;

  double without(int t) const { return t == type ? second : best; }
  int arc_without(int t) const { return t == type ? second_arc : arc; }
  void offer(double total, int through, int of_type) {
    if (total < best) {
      if (of_type != type) {
        second = best;
        second_arc = arc;
      }
      best = total;
      arc = through;
      type = of_type;
    } else if (of_type != type && total < second) {
      second = total;
      second_arc = through;
    }
  }
};

class StageGraph {
 public:
  // All stages that reach a stage time within the limits of their type, begin and end at multiples of `stride`
  // layers, and whose work costs at most `excess` ($/hour times seconds) more than with each layer on its
  // cheapest type.
  StageGraph(const Problem& problem, const StageSource& stages, double time, int stride, double excess);

  // No stages.
  StageGraph() = default;

  // From arcs that are sorted by first layer and reach the time.
  StageGraph(int layers, std::vector<Arc> arcs, double time);

  // Keeps the marked stages that still reach `time`, which is at most that of the graph.
  void narrow(const StageSource& stages, const std::vector<char>& marked, double time);

  void transfer(State& state, const Problem& problem);

  double time() const { return time_; }
  int layers() const { return static_cast<int>(begins_.size()) - 1; }
  size_t size() const { return arcs_.size(); }
  const Arc& operator[](size_t i) const { return arcs_[i]; }
  const std::vector<Arc>& arcs() const { return arcs_; }

  // Arcs that begin at a layer: positions begin(first) to begin(first + 1) - 1.
  size_t begin(int first) const { return begins_[first]; }

 private:
  void keep(const std::vector<char>& marked);

  std::vector<Arc> arcs_;  // by first layer
  std::vector<size_t> begins_;
  double time_ = 0;
};

// The path of a graph that contains nothing else.
std::vector<int> all_arcs(const StageGraph& graph);

// Arcs by their positions.
std::vector<Arc> arcs_of(const StageGraph& graph, const std::vector<int>& path);

// Labels of the layers of a plan, given its stages in order. Neighbours of one type, if allowed, alternate
// between its two labels.
std::vector<std::int8_t> scheme_of(const Problem& problem, const std::vector<Arc>& path);

}  // namespace stageplan
