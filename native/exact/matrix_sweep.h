// Shortest paths through all stages of a problem. Where there are few, weighing each of them in loops without
// branches takes less time than choosing those worth a look, as SegmentSweep does.
#pragma once

#include <vector>

#include "exact/stage_graph.h"
#include "model/stage_matrix.h"

namespace stageplan {

// Lower bounds of what paths through all stages of a problem cost.
class MatrixSweep {
 public:
  MatrixSweep(const Problem& problem, const StageMatrix& stages);

  // Gives each stage the fewest devices that may reach a stage time, seconds.
  void reach(double time);

  // The path that is the cheapest per hour with these devices; empty if there is none. Times are not computed.
  std::vector<Arc> cheapest_path();

  // The stages on paths whose total may be less than `most`, where a stage of k devices weighs price * k * its
  // time, but at least `low`. Their times are not computed.
  std::vector<Arc> promising(double low, double most);

 private:
  // Totals at the cuts, of paths that a stage of each type may join: (types, layers + 1).
  using Totals = std::vector<double>;
  double* of_type(Totals& totals, size_t type) const { return totals.data() + type * (stages_.layers + 1); }

  void weigh_devices();
  void weigh(double low);
  void from_start();
  void to_end();
  void join(Totals& totals, size_t cut) const;

  const Problem& problem_;
  const StageMatrix& stages_;
  const bool neighbours_alike_;
  std::vector<size_t> types_;             // types with devices
  double time_ = 0;                       // seconds
  std::vector<double> devices_, weight_;  // of the stages; infinite where no path may have them
  std::vector<double> least_;    // (types,): least total at a cut, of paths whose stage there is of the type
  Totals ending_, start_, end_;  // `ending_`: of paths to each cut whose last stage is of the type
};

}  // namespace stageplan
