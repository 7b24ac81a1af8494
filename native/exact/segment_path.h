// Shortest paths through a stage graph. Neighbours of one type would merge, so a path may not contain them
// unless the type has several labels: it suffices to keep the least total and the least with another last
// type.
#pragma once

#include <vector>

#include "exact/stage_graph.h"

namespace stageplan {

// Keeps its buffers between calls.
class SegmentPath {
 public:
  explicit SegmentPath(const Problem& problem);

  // Totals of the paths from the first cut to each, or from each to the last; `weight`: one number per arc.
  // Both return the total of a shortest path, infinity if there is none.
  double from_start(const StageGraph& graph, const std::vector<double>& weight);
  double to_end(const StageGraph& graph, const std::vector<double>& weight);

  // Least total to the cut before an arc, and from the cut after it, over paths that the arc may join.
  double before(const Arc& arc) const { return start_[arc.first].without(arc.type); }
  double after(const Arc& arc) const { return end_[arc.last + 1].without(arc.type); }

  // Positions of the arcs of a shortest path of the last from_start, in order.
  std::vector<int> path(const StageGraph& graph) const;

 private:
  int apart(int type) const { return neighbours_alike_ ? -1 : type; }

  bool neighbours_alike_;
  std::vector<Least> start_, end_;
};

}  // namespace stageplan
