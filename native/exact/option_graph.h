// Stages with their options, as arcs between the cuts that they begin and end at.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "model/option_lists.h"
#include "search/schemes.h"

namespace stageplan {

struct OptionArc {
  int first, last, type, devices;
  int nearest, farthest;  // positions that it may be at
  double time, pass, sync, price;
};

// The position of a stage: how many stages there are from it to the end, with itself. With `open` the last one
// stands for all positions from it on.
struct Positions {
  int count;
  bool open;

  // Whether all stages of a path are where they may be.
  bool allow(std::span<const OptionArc> path) const;

  // Only so many are told apart: a bound of the paths where more are.
  Positions first(int most) const { return most < count ? Positions{most, true} : *this; }

  // Those of an arc among them.
  struct Range {
    int nearest, farthest;
  };
  Range of(const OptionArc& arc) const { return {std::min(arc.nearest, count), std::min(arc.farthest, count)}; }

  // Whether all stages may be anywhere.
  bool alike() const { return count == 1 && open; }
};

// Times and all-reduce of the slowest stages.
struct SlowestRange {
  double low, high, sync_low, sync_high;
};

class OptionGraph {
 public:
  // The arcs of a group that may be in a plan of at most these seconds an example, and $/hour of devices,
  // with at most `limit` devices of each type. Cuts are multiples of `stride`.
  OptionGraph(const Problem& problem, const OptionGroup& group, const std::vector<double>& limit,
              double most_time, double most_price, int stride);

  // No arcs.
  OptionGraph() = default;

  void transfer(State& state, const Problem& problem);

  // Becomes the arcs of a graph that the best plan of a range may need: none slower, and none that another one
  // can replace.
  void select(const OptionGraph& graph, const SlowestRange& range);

  std::span<const OptionArc> arcs() const { return arcs_; }
  std::span<const OptionArc> from(int cut) const {
    return {arcs_.data() + begin_[cut], arcs_.data() + begin_[cut + 1]};
  }
  size_t size() const { return arcs_.size(); }

  // The range cut down so that it ends at numbers of arcs; false where none is within it.
  bool tighten(SlowestRange& range) const;

  // Whether an arc stands for all options of its stage with at least its devices: where times fall with the
  // devices, `select` makes it the first one within the range's time.
  bool first_only() const { return first_only_; }

  const Positions& positions() const { return positions_; }

  // Only the arcs that `narrow` leaves, having changed their positions.
  template <class Narrow>
  void keep(Narrow narrow) {
    size_t kept = 0;
    for (OptionArc& arc : arcs_)
      if (narrow(arc)) arcs_[kept++] = arc;
    arcs_.resize(kept);
    index();
  }

 private:
  double least_time(const OptionArc& arc, double low) const;
  void select_first(const OptionGraph& graph, double most_time);
  void add(const Problem& problem, int first, int last, int type, const Option& option);
  void set_positions(const Problem& problem);
  void index();

  const Problem* problem_ = nullptr;
  OptionGroup group_;
  bool first_only_ = false;
  std::vector<OptionArc> arcs_;  // by first, last, type
  std::vector<int> begin_;       // of the arcs from each cut
  Positions positions_{0, true};
};

using OptionPath = std::vector<OptionArc>;

// What the score of a path is made of.
struct PathSums {
  double pass = 0, price = 0;  // sums
  double time = 0, sync = 0;   // the longest
  explicit PathSums(const OptionPath& path);
};

// Neighbouring stages of one type get its two labels in turn.
Genes scheme_of(const Problem& problem, const OptionPath& path);

}  // namespace stageplan
