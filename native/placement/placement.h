// A scheme whose stages are all layers of a label (Merge::type): the loads of its labels, updated with
// each move.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "common/rng.h"
#include "model/stage_table.h"
#include "search/schemes.h"

namespace stageplan {

class Placement {
 public:
  explicit Placement(const Problem& problem);

  // Copies a scheme and computes its loads.
  void load(const std::int8_t* scheme);

  // Gives a layer another label. Only the loads of the old and the new label change.
  void move(int layer, int label);

  // Keeps the moves since the last keep() or undo(), or undoes them exactly, to the bit.
  void keep();
  void undo();

  int layers_of(int label) const { return layers_of_[label]; }
  const Genes& scheme() const { return scheme_; }
  const StageLoad& load_of(int label) const { return loads_[label]; }

  // Labels whose loads have changed since the last keep() or undo().
  const std::vector<int>& touched() const { return touched_; }

  // A random layer that shares a tensor with this one or is adjacent to it; itself if there is none.
  int neighbour(int layer, Rng& rng) const;

 private:
  void touch(int label);
  void relabel(int layer, int label);
  void move_layer(int layer, int from, int to);
  void move_tensors(int layer, int from, int to);
  void move_ends(int layer, int from, int to);
  void pay(int label, double seconds) {
    add_transfer(problem_, loads_[label], seconds, problem_.type_of(label));
  }
  double send(int layer, int label) const;
  double receive(int layer, int label) const;

  const Problem& problem_;
  const size_t labels_;
  const bool chained_;                        // whether layers send or receive
  std::vector<std::vector<int>> ends_;        // of each tensor: its producer and consumers, each once
  std::vector<std::vector<int>> tensors_of_;  // of each layer
  std::vector<int> held_;                     // (tensors, labels): number of its ends with the label
  Genes scheme_;
  std::vector<StageLoad> loads_;            // by label
  std::vector<int> layers_of_;              // by label
  std::vector<std::pair<int, int>> moves_;  // (layer, its label before)
  std::vector<int> touched_;                // labels
  std::vector<StageLoad> saved_;            // their loads before
};

}  // namespace stageplan
