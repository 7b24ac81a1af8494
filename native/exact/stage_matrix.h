// All stages of a small problem, in arrays. Where there are few, weighing each of them in loops without
// branches takes less time than choosing those worth a look, as SegmentSweep does.
#pragma once

#include <memory>
#include <vector>

#include "exact/stage_graph.h"

namespace stageplan {

// The times of all stages, split as in StageLoad. They do not depend on prices, limits and goals: problems that
// differ in these share them. Arrays are (types, stages); stages are sorted by first layer, then by last.
struct StageMatrix {
  StageMatrix(const Problem& problem, std::shared_ptr<const StageLoads> loads_of_all);

  // Whether the problem has few enough stages.
  static bool fits(const Problem& problem) { return count(problem.layers) * problem.types <= size_t{1} << 15; }

  static size_t count(size_t layers) { return layers * (layers + 1) / 2; }
  size_t row(size_t type, size_t first) const { return type * stages + first * (2 * layers - first + 1) / 2; }

  // Of a stage, without its memory.
  StageLoad load(int first, int last, int type) const {
    const size_t i = row(type, first) + last - first;
    return {serial_compute[i], parallel_compute[i], serial_transfer[i], parallel_transfer[i]};
  }

  std::shared_ptr<const StageLoads> loads;
  size_t layers, stages;
  std::vector<double> serial_compute, parallel_compute;  // seconds; infinite where the type cannot run a layer
  std::vector<double> serial_transfer,
      parallel_transfer;       // 0 if transfer does not overlap compute: it is part of it
  std::vector<double> memory;  // (stages,), bytes
};

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
