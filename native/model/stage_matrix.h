// The times of all stages, in arrays: loops over them have no branches and no calls.
#pragma once

#include <memory>
#include <vector>

#include "model/stage_table.h"

namespace stageplan {

// Split as in StageLoad: k devices take serial + parallel / k of compute, and as much of transfer as that of
// transfer. Times do not depend on prices, limits and goals: problems that differ in these share them. Arrays
// are (types, stages); stages are sorted by first layer, then by last.
struct StageMatrix {
  // Without transfer and memory, all times 0.
  StageMatrix(size_t layers, size_t types);

  // By Amdahl's law.
  StageMatrix(const Problem& problem, const StageLoads& loads);

  // Whether the problem has so few stages that making their times takes less time than choosing those worth a
  // look.
  static bool fits(const Problem& problem) { return count(problem.layers) * problem.types <= size_t{1} << 15; }

  static size_t count(size_t layers) { return layers * (layers + 1) / 2; }
  size_t row(size_t type, size_t first) const { return type * stages + first * (2 * layers - first + 1) / 2; }

  size_t at(int first, int last, int type) const { return row(type, first) + last - first; }

  // Of a stage, without its memory.
  StageLoad load(int first, int last, int type) const {
    const size_t i = at(first, last, type);
    return {serial_compute[i], parallel_compute[i], serial_transfer[i], parallel_transfer[i]};
  }

  size_t layers, stages;
  int most_devices = kMaxDevices;                        // of a stage, beside the limits of a problem
  std::vector<double> serial_compute, parallel_compute;  // seconds; infinite where the type cannot run a layer
  std::vector<double> serial_transfer,
      parallel_transfer;       // 0 if transfer does not overlap compute: it is part of it
  std::vector<double> memory;  // (stages,), bytes
};

// What searches of problems that have the same stages share: null where it is not known yet.
struct KnownStages {
  std::shared_ptr<const StageLoads> loads;
  std::shared_ptr<const StageMatrix> matrix;
};

}  // namespace stageplan
