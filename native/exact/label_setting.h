// The cheapest path within the limits: paths from the first cut to each, as labels (cost, devices of the types
// whose limits are counted), without those that another label dominates or that the relaxation rules out
// (resource-constrained shortest path; Desrochers and Soumis 1988).
#pragma once

#include <cstdint>
#include <vector>

#include "exact/relaxation.h"

namespace stageplan {

class LabelSetting {
 public:
  // At each cut at most `width` labels are kept, the most promising ones.
  LabelSetting(const Problem& problem, const StageGraph& graph, const Demand& demand,
               const Multipliers& multipliers, const SegmentPath& paths, size_t width);

  struct Answer {
    double bound = kInfinity;  // no path within the limits costs less
    bool exact = true;         // no label was dropped
    std::vector<int> path;     // the cheapest one found within the limits; empty if none
    std::uint64_t work = 0;    // labels created and compared
  };
  Answer run();

 private:
  struct Label {
    double cost, weighted, extra;
    int from, arc;      // parent label (index in kept_), and the arc from it
    std::size_t words;  // where its device counts begin
  };
  struct Cut {
    std::vector<Label> labels;
    std::vector<std::uint64_t> words;
  };
  struct Kept {
    int from, arc;
  };
  // Position of the count of a type in the words of a label; the bit above it is 0.
  struct Field {
    int word = -1, shift = 0;
  };

  void choose_types();
  void order_arcs();
  Answer run_chosen();
  bool count_broken(const std::vector<int>& path);
  void prune(Cut& cut);
  bool dominated(const Cut& cut, const Label& label, size_t kept);
  bool fits(const std::uint64_t* words, const std::uint64_t* limit) const;
  void extend(const Cut& cut, const Label& label, int id, int first);
  std::vector<int> path_of(int from, int arc) const;
  int type_of(const Label& label) const { return label.arc < 0 ? -1 : graph_[label.arc].type; }

  const Problem& problem_;
  const StageGraph& graph_;
  const Demand& demand_;
  const Multipliers& multipliers_;
  const SegmentPath& paths_;
  const size_t width_;
  const double max_total_;  // upper bound of the cost with multipliers
  const bool neighbours_alike_;
  std::vector<char> counted_;  // types whose devices labels count
  std::vector<Field> fields_;
  std::vector<std::uint64_t> limit_, guard_;
  std::vector<double> weight_;   // with multipliers
  std::vector<int> order_;       // arcs of each cut, the most promising first
  std::vector<double> promise_;  // least total, with multipliers, of a path that continues with the arc
  std::vector<Cut> cuts_;
  std::vector<Kept> kept_;
  double pruned_bound_ = kInfinity;  // least cost with multipliers of a path through a dropped label
  std::uint64_t work_ = 0;
};

}  // namespace stageplan
