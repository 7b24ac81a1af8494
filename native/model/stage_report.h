// What a plan says of its stages.
#pragma once

#include <cstdint>
#include <vector>

#include "model/merge.h"
#include "model/plan_cost.h"
#include "model/provision.h"

namespace stageplan {

struct StageReport {
  int label;
  std::vector<int> layers;
  StageRecord record;
  double pass;  // seconds an example, under a schedule
};

// Of the stages that the provisioner was last called for.
std::vector<StageReport> report_stages(const Problem& problem, const std::vector<Stage>& stages,
                                       const Provisioner& provisioner, const std::int8_t* scheme);

}  // namespace stageplan
