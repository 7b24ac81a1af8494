// Schemes to stages: layers that share a label and, with Merge::adjacent, are neighbours.
#pragma once

#include <cstdint>
#include <vector>

#include "model/stage_table.h"

namespace stageplan {

struct Stage {
  int label, type;
  int first, last;  // with Merge::type the lowest and the highest layer of the label
  StageLoad load;
};

// Replaces `stages` by those of the scheme, in the order of their first layers.
void merge(const Problem& problem, const StageLoads& loads, const std::int8_t* scheme,
           std::vector<Stage>& stages);

// Converts a scheme of `contiguous` to the labels of `by_type`, which differ if types have several labels: each
// stage gets the next label of its type, cyclically if there are more stages.
std::vector<std::int8_t> relabel_contiguous(const Problem& contiguous, const std::int8_t* scheme,
                                            const Problem& by_type);

}  // namespace stageplan
