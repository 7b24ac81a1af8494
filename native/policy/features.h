// The observations of a policy, layer by layer, and the reward of an episode.
#pragma once

#include <vector>

#include "kernels/scorer.h"
#include "policy/reward.h"

namespace stageplan {

// State of an episode: the labels chosen so far, merged into stages.
struct EpisodeState {
  int label = -1;           // of the previous layer; -1 at the start
  int first = 0;            // first layer of the open stage
  std::vector<int> counts;  // minimum devices of the closed stages by type; empty if none are limited
};

// Features of similar size in every problem, whatever its units: times are fractions of a stage time, prices
// are fractions of the average cost of a layer, and quantities that vary by orders of magnitude are logarithms.
// So a trained policy transfers to other problems with the same types.
class Features {
 public:
  explicit Features(const Problem& problem);

  // Number of features of a layer, the same in each episode, and of an episode at a layer.
  static int shared(int types);
  static int own(int types);
  int shared() const { return shared(problem_.types); }
  int own() const { return own(problem_.types); }
  static constexpr double kMost = 4;  // features are clipped to this magnitude

  // The features of a layer, `shared()` of them.
  const float* layer(int layer) const { return &layers_[static_cast<size_t>(layer) * shared()]; }

  EpisodeState start() const;

  // The features of an episode before it chooses for a layer, and the prior logits of the labels for an
  // untrained policy, which prefer the label of the previous layer and cheap types. They are -inf for labels
  // that are certain to break a limit, unless all are; of equivalent labels all but one are -inf.
  void observe(const EpisodeState& state, int layer, float* own, float* prior) const;

  void choose(EpisodeState& state, int layer, int label) const;

  // The reward of an episode's plan; the reference is the best plan on one type.
  double reward(const Score& score) const { return reward_of(problem_, score, scale_); }

  const Problem& problem() const { return problem_; }
  const Scorer& scorer() const { return scorer_; }  // exact

 private:
  struct Single {
    float price;      // of a stage of one layer, as a fraction of the cost of a layer
    float prior;      // logit of the type, if the previous layer has another one
    int least;        // minimum devices of such a stage, whatever follows
    bool impossible;  // whether no feasible plan has this layer on this type
  };

  void set_units();
  double work(int layer, int type) const;  // seconds; infinite where the type cannot run the layer
  void write_layer(int layer, float* numbers) const;
  void write_type(int layer, int type, double least_time, double least_cost, float* numbers) const;
  void write_stage(const EpisodeState& state, int layer, float* numbers) const;
  Single make_single(int layer, int type) const;
  int least_devices(StageLoad load, int type) const;
  bool may_stay(const EpisodeState& state, int layer) const;
  bool may_close(const EpisodeState& state, int layer) const;
  bool may_begin(const EpisodeState& state, int layer, int label) const;
  float prior(const EpisodeState& state, int layer, int label) const;
  bool usual(const EpisodeState& state, int label) const;
  const Single& single(int layer, int type) const {
    return singles_[static_cast<size_t>(layer) * problem_.types + type];
  }

  const Problem& problem_;
  const Scorer scorer_;
  const bool adjacent_, limited_;
  double time_ = 1;   // of a stage, seconds
  double price_ = 1;  // of a layer, $/hour
  double scale_ = 1;  // of the objective
  double mean_size_ = 0, mean_memory_ = 0, mean_price_ = 0;
  float stay_ = 0;             // added to the logit of the label of the previous layer
  std::vector<double> needs_;  // devices of each type for all layers, as a fraction of its limit
  std::vector<Single> singles_;
  std::vector<float> layers_;
};

}  // namespace stageplan
