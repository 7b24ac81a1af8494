#include "model/stage_report.h"

#include <utility>

#include "model/option_lists.h"

namespace stageplan {
namespace {

std::vector<int> layers_of(const Problem& problem, const Stage& stage, const std::int8_t* scheme) {
  std::vector<int> layers;
  for (int l = stage.first; l <= stage.last; ++l)
    if (problem.merge == Merge::adjacent || scheme[l] == stage.label) layers.push_back(l);
  return layers;
}

}  // namespace

std::vector<StageReport> report_stages(const Problem& problem, const std::vector<Stage>& stages,
                                       const Provisioner& provisioner, const std::int8_t* scheme) {
  std::vector<StageReport> reports;
  reports.reserve(stages.size());
  for (size_t s = 0; s < stages.size(); ++s) {
    const Stage& stage = stages[s];
    std::vector<int> layers = layers_of(problem, stage, scheme);
    if (problem.by_options()) {
      const Option& option = provisioner.chosen()[s];
      const int in_flight = problem.option_lists().options().in_flight(static_cast<int>(stages.size() - s));
      reports.push_back(
          {stage.label, std::move(layers), make_record(problem, stage, option, in_flight), option.pass});
    } else {
      const int count = static_cast<int>(layers.size());
      reports.push_back(
          {stage.label, std::move(layers), make_record(problem, stage, count, provisioner.devices()[s]), 0});
    }
  }
  return reports;
}

}  // namespace stageplan
