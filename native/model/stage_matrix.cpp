#include "model/stage_matrix.h"

#include "common/stop.h"

namespace stageplan {

StageMatrix::StageMatrix(size_t layer_count, size_t types)
    : layers(layer_count), stages(count(layers)), memory(stages) {
  for (auto* times : {&serial_compute, &parallel_compute, &serial_transfer, &parallel_transfer})
    times->resize(stages * types);
}

StageMatrix::StageMatrix(const Problem& problem, const StageLoads& loads)
    : StageMatrix(problem.layers, problem.types) {
  for (int type = 0; type < problem.types; ++type)
    for (int first = 0; first < problem.layers; ++first) {
      check_stop();
      for (int last = first; last < problem.layers; ++last) {
        const size_t of_type = row(0, first) + last - first, i = type * stages + of_type;
        const StageLoad load = loads(first, last, type);
        const bool apart = problem.overlap;
        serial_compute[i] = load.serial_compute + (apart ? 0 : load.serial_transfer);
        parallel_compute[i] =
            load.unsupported > 0 ? kInfinity : load.parallel_compute + (apart ? 0 : load.parallel_transfer);
        serial_transfer[i] = apart ? load.serial_transfer : 0;
        parallel_transfer[i] = apart ? load.parallel_transfer : 0;
        memory[of_type] = load.memory;
      }
    }
}

}  // namespace stageplan
