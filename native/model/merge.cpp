#include "model/merge.h"

#include <bitset>

namespace stageplan {
namespace {

void merge_adjacent(const Problem& problem, const StageLoads& loads, const std::int8_t* scheme,
                    std::vector<Stage>& stages) {
  for (int first = 0, last; first < problem.layers; first = last + 1) {
    const int label = scheme[first], type = problem.type_of(label);
    for (last = first; last + 1 < problem.layers && scheme[last + 1] == label;) ++last;
    stages.push_back({label, type, first, last, loads(first, last, type)});
  }
}

// Stages by label; `of_label[label]` is the stage's position.
struct ByLabel {
  const Problem& problem;
  const std::int8_t* scheme;
  std::vector<Stage>& stages;
  int of_label[kMaxLabels];

  Stage& stage_of(int layer) { return stages[of_label[scheme[layer]]]; }

  void add_layers() {
    std::fill(of_label, of_label + kMaxLabels, -1);
    for (int l = 0; l < problem.layers; ++l) {
      const int label = scheme[l], type = problem.type_of(label);
      if (of_label[label] < 0) {
        of_label[label] = static_cast<int>(stages.size());
        stages.push_back({label, type, l, l, {}});
      }
      stage_of(l).last = l;
      add_layer(problem, stage_of(l).load, l, type);
    }
  }

  void pay(int layer, double seconds) {
    Stage& stage = stage_of(layer);
    add_transfer(problem, stage.load, seconds, stage.type);
  }

  void add_changes() {
    for (int l = 0; l + 1 < problem.layers; ++l) {
      if (scheme[l] == scheme[l + 1]) continue;
      pay(l, problem.send[static_cast<size_t>(l) * problem.types + stage_of(l).type]);
      pay(l + 1, problem.receive[static_cast<size_t>(l + 1) * problem.types + stage_of(l + 1).type]);
    }
  }

  // Sent once from the producer's stage, received once by each other stage that holds a consumer.
  void add_tensor(const Tensor& tensor) {
    std::bitset<kMaxLabels> met;
    met.set(scheme[tensor.producer]);
    for (int consumer : tensor.consumers) {
      if (met.test(scheme[consumer])) continue;
      if (met.count() == 1)
        pay(tensor.producer, tensor.bytes / problem.bandwidth[stage_of(tensor.producer).type]);
      met.set(scheme[consumer]);
      pay(consumer, tensor.bytes / problem.bandwidth[stage_of(consumer).type]);
    }
  }
};

void merge_by_type(const Problem& problem, const std::int8_t* scheme, std::vector<Stage>& stages) {
  ByLabel by_label{problem, scheme, stages, {}};
  by_label.add_layers();
  by_label.add_changes();
  for (const Tensor& tensor : problem.tensors) by_label.add_tensor(tensor);
}

}  // namespace

void merge(const Problem& problem, const StageLoads& loads, const std::int8_t* scheme,
           std::vector<Stage>& stages) {
  stages.clear();
  if (problem.merge == Merge::adjacent)
    merge_adjacent(problem, loads, scheme, stages);
  else
    merge_by_type(problem, scheme, stages);
}

std::vector<std::int8_t> relabel_contiguous(const Problem& contiguous, const std::int8_t* scheme,
                                            const Problem& by_type) {
  std::vector<std::vector<int>> labels(by_type.types);
  for (int label = 0; label < by_type.labels(); ++label) labels[by_type.type_of(label)].push_back(label);
  std::vector<size_t> stages(by_type.types);
  std::vector<std::int8_t> relabelled;
  for (int l = 0; l < by_type.layers; ++l) {
    const int type = contiguous.type_of(scheme[l]);
    if (l == 0 || scheme[l] != scheme[l - 1]) ++stages[type];
    const std::vector<int>& own = labels[type];
    relabelled.push_back(own.empty() ? std::int8_t{0}
                                     : static_cast<std::int8_t>(own[(stages[type] - 1) % own.size()]));
  }
  return relabelled;
}

}  // namespace stageplan
