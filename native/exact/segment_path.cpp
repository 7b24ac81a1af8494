#include "exact/segment_path.h"

#include <algorithm>

#include "common/stop.h"

namespace stageplan {

SegmentPath::SegmentPath(const Problem& problem) : neighbours_alike_(problem.neighbours_may_share_type()) {}

double SegmentPath::from_start(const StageGraph& graph, const std::vector<double>& weight) {
  start_.assign(graph.layers() + 1, {});
  start_[0].best = 0;
  StopCounter& work = StopCounter::of_thread();
  for (int first = 0; first < graph.layers(); ++first) {
    const Least here = start_[first];
    if (here.best == kInfinity) continue;
    work.count();
    for (size_t i = graph.begin(first); i < graph.begin(first + 1); ++i) {
      const Arc& arc = graph[i];
      start_[arc.last + 1].offer(here.without(arc.type) + weight[i], static_cast<int>(i), apart(arc.type));
    }
  }
  return start_.back().best;
}

double SegmentPath::to_end(const StageGraph& graph, const std::vector<double>& weight) {
  end_.assign(graph.layers() + 1, {});
  end_.back().best = 0;
  StopCounter& work = StopCounter::of_thread();
  for (int first = graph.layers() - 1; first >= 0; --first) {
    work.count();
    for (size_t i = graph.begin(first); i < graph.begin(first + 1); ++i) {
      const Arc& arc = graph[i];
      end_[first].offer(after(arc) + weight[i], static_cast<int>(i), apart(arc.type));
    }
  }
  return end_.front().best;
}

std::vector<int> SegmentPath::path(const StageGraph& graph) const {
  std::vector<int> arcs;
  int type = -2;
  for (int cut = graph.layers(); cut > 0;) {
    const int i = start_[cut].arc_without(type);
    arcs.push_back(i);
    cut = graph[i].first;
    type = graph[i].type;
  }
  std::reverse(arcs.begin(), arcs.end());
  return arcs;
}

}  // namespace stageplan
