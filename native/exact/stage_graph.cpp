#include "exact/stage_graph.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "common/stop.h"

namespace stageplan {
namespace {

constexpr size_t kAhead = 12;  // arcs from that which is read to that which memory is asked for

}  // namespace

StageGraph::StageGraph(const Problem& problem, const StageSource& stages, double time, int stride,
                       double excess)
    : time_(time) {
  const std::vector<double>& least = stages.least_prices();
  for (int first = 0; first < problem.layers; ++first) {
    begins_.push_back(arcs_.size());
    if (first % stride != 0) continue;
    for (int type = 0; type < problem.types; ++type) {
      check_stop();
      if (problem.limit[type] < 1) continue;
      double spare = excess;
      for (int last = first; last < problem.layers; ++last) {
        spare -= stages.work_price(last, type) - least[last];
        if (!(spare >= 0)) break;
        if ((last + 1) % stride != 0 && last + 1 != problem.layers) continue;
        const auto [arc, too_long] = stages.find(first, last, type, time);
        if (too_long) break;
        if (arc) arcs_.push_back(*arc);
      }
    }
  }
  begins_.push_back(arcs_.size());
}

StageGraph::StageGraph(int layers, std::vector<Arc> arcs, double time) : arcs_(std::move(arcs)), time_(time) {
  size_t i = 0;
  for (int first = 0; first <= layers; ++first) {
    begins_.push_back(i);
    while (i < arcs_.size() && arcs_[i].first == first) ++i;
  }
}

// Without branches: which stages are marked follows no pattern.
void StageGraph::keep(const std::vector<char>& marked) {
  size_t kept = 0, i = 0;
  for (int first = 0; first < layers(); ++first) {
    const size_t end = begins_[first + 1];
    begins_[first] = kept;
    for (; i < end; ++i) {
      arcs_[kept] = arcs_[i];
      kept += marked[i] != 0;
    }
  }
  begins_.back() = kept;
  arcs_.resize(kept);
}

void StageGraph::narrow(const StageSource& stages, const std::vector<char>& marked, double time) {
  keep(marked);
  StopCounter& work = StopCounter::of_thread();
  size_t kept = 0, i = 0;
  for (int first = 0; first < layers(); ++first) {
    const size_t end = begins_[first + 1];
    work.count(1 + (end - i) / 16);
    begins_[first] = kept;
    for (; i < end; ++i) {
      if (const size_t ahead = i + kAhead; ahead < arcs_.size() && !meets(arcs_[ahead].time, time))
        stages.prefetch_faster(arcs_[ahead], time);
      const Arc& arc = arcs_[i];
      if (meets(arc.time, time))
        arcs_[kept++] = arc;
      else if (const auto faster = stages.faster(arc, time))
        arcs_[kept++] = *faster;
    }
  }
  begins_.back() = kept;
  arcs_.resize(kept);
  time_ = time;
}

void StageGraph::transfer(State& state, const Problem& problem) {
  state(time_);
  state.size(arcs_, sizeof(Arc));
  for (int before = 0; Arc & arc : arcs_) {
    for (int* number : {&arc.first, &arc.last, &arc.type, &arc.devices}) state(*number);
    state(arc.time);
    state.check(before <= arc.first && arc.first <= arc.last && arc.last < problem.layers);
    state.check(0 <= arc.type && arc.type < problem.types && 0 < arc.devices && arc.time >= 0);
    before = arc.first;
  }
  if (state.loading()) *this = StageGraph(problem.layers, std::move(arcs_), time_);
}

std::vector<int> all_arcs(const StageGraph& graph) {
  std::vector<int> path(graph.size());
  std::iota(path.begin(), path.end(), 0);
  return path;
}

std::vector<Arc> arcs_of(const StageGraph& graph, const std::vector<int>& path) {
  std::vector<Arc> arcs;
  arcs.reserve(path.size());
  for (int i : path) arcs.push_back(graph[i]);
  return arcs;
}

std::vector<std::int8_t> scheme_of(const Problem& problem, const std::vector<Arc>& path) {
  std::vector<std::int8_t> scheme(problem.layers);
  int before = -1;
  for (const Arc& arc : path) {
    int label = problem.neighbours_may_share_type() ? 2 * arc.type : arc.type;
    if (label == before) ++label;
    std::fill(scheme.begin() + arc.first, scheme.begin() + arc.last + 1, static_cast<std::int8_t>(label));
    before = label;
  }
  return scheme;
}

}  // namespace stageplan
