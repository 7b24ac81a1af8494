#include "exact/option_paths.h"

#include <algorithm>

#include "common/stop.h"

namespace stageplan {

OptionPaths::OptionPaths(const Problem& problem, const Positions& positions)
    : layers_(problem.layers),
      types_(problem.types),
      types_repeat_(problem.neighbours_may_share_type()),
      positions_(positions),
      stride_(positions.count + 1),
      before_(row(layers_ + 1, 0)),
      after_(before_.size()),
      least_(stride_),
      second_(stride_) {}

// Replaces what each type has by the least of the others; of all where neighbours may be alike.
void OptionPaths::leave_out_type(double* rows) {
  std::fill(least_.begin(), least_.end(), kInfinity);
  std::fill(second_.begin(), second_.end(), kInfinity);
  for (int t = 0; t < types_; ++t) {
    const double* own = rows + t * stride_;
    for (size_t p = 0; p < stride_; ++p) {
      second_[p] = std::min(second_[p], std::max(least_[p], own[p]));
      least_[p] = std::min(least_[p], own[p]);
    }
  }
  for (int t = 0; t < types_; ++t) {
    double* own = rows + t * stride_;
    for (size_t p = 0; p < stride_; ++p)
      own[p] = own[p] == least_[p] && !types_repeat_ ? second_[p] : least_[p];
  }
}

// From the position of the stage that follows to that of the one before.
void OptionPaths::shift(double* rows) const {
  for (int t = 0; t < types_; ++t) {
    double* own = rows + t * stride_;
    const double same = positions_.open ? own[positions_.count] : kInfinity;
    for (size_t p = stride_ - 1; p > 0; --p) own[p] = own[p - 1];
    own[0] = kInfinity;
    own[positions_.count] = std::min(own[positions_.count], same);
  }
}

double OptionPaths::to_end(const OptionGraph& graph, const ArcWeights& weights) {
  std::fill(after_.begin(), after_.end(), kInfinity);
  for (int t = 0; t < types_; ++t) after_[row(layers_, t)] = 0;
  shift(&after_[row(layers_, 0)]);
  for (int cut = layers_ - 1; cut >= 0; --cut) {
    check_stop_often();
    for (const OptionArc& arc : graph.from(cut)) {
      const double weight = weights(arc);
      const double* rest = after(arc.last + 1, arc.type);
      double* all = &after_[row(cut, arc.type)];
      const auto [nearest, farthest] = positions_.of(arc);
      for (int p = nearest; p <= farthest; ++p) all[p] = std::min(all[p], rest[p] + weight);
    }
    if (cut == 0) break;
    leave_out_type(&after_[row(cut, 0)]);
    shift(&after_[row(cut, 0)]);
  }
  return *std::min_element(after_.begin(), after_.begin() + static_cast<std::ptrdiff_t>(row(1, 0)));
}

double OptionPaths::from_start(const OptionGraph& graph, const ArcWeights& weights) {
  std::fill(before_.begin(), before_.begin() + static_cast<std::ptrdiff_t>(row(1, 0)), 0.0);
  std::fill(before_.begin() + static_cast<std::ptrdiff_t>(row(1, 0)), before_.end(), kInfinity);
  for (int cut = 0; cut < layers_; ++cut) {
    check_stop_often();
    if (cut > 0) leave_out_type(&before_[row(cut, 0)]);
    for (const OptionArc& arc : graph.from(cut)) {
      const double weight = weights(arc);
      const double* all = before(cut, arc.type);
      double* rest = &before_[row(arc.last + 1, arc.type)];
      const auto [nearest, farthest] = positions_.of(arc);
      for (int p = nearest; p <= farthest; ++p) rest[p - 1] = std::min(rest[p - 1], all[p] + weight);
      if (positions_.open && farthest == positions_.count)
        rest[positions_.count] = std::min(rest[positions_.count], all[positions_.count] + weight);
    }
  }
  double least = kInfinity;
  for (int t = 0; t < types_; ++t) least = std::min(least, before_[row(layers_, t)]);
  return least;
}

// Goes along the arcs whose weight and what is least behind them make up what was least.
OptionPath OptionPaths::path(const OptionGraph& graph, const ArcWeights& weights) const {
  OptionPath path;
  double left = *std::min_element(after_.begin(), after_.begin() + static_cast<std::ptrdiff_t>(row(1, 0)));
  int type = -1, most = positions_.count, least = 1;  // positions that the next stage may be at
  for (int cut = 0; cut < layers_; cut = path.back().last + 1) {
    const auto leads_on = [&](const OptionArc& arc, int position) {
      return after(arc.last + 1, arc.type)[position] + weights(arc) == left;
    };
    const OptionArc* next = nullptr;
    int at = 0;
    for (const OptionArc& arc : graph.from(cut)) {
      if (arc.type == type && !types_repeat_) continue;
      const auto [nearest, farthest] = positions_.of(arc);
      for (int p = std::max(least, nearest); p <= std::min(most, farthest) && !next; ++p)
        if (leads_on(arc, p)) next = &arc, at = p;
      if (next) break;
    }
    path.push_back(*next);
    left = after(next->last + 1, next->type)[at];
    type = next->type;
    least = at - 1;
    most = positions_.open && at == positions_.count ? at : least;
  }
  return path;
}

}  // namespace stageplan
