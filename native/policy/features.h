// What a policy sees of a problem, layer by layer, and what an episode earns.
#pragma once

#include <vector>

#include "kernels/scorer.h"
#include "policy/reward.h"

namespace stageplan {

// Where an episode stands: the labels that it has chosen so far, merged into stages.
struct EpisodeState {
  int label = -1;  // of the layer before; -1 at the start
  int first = 0;   // layer of the open stage
  std::vector<int>
      counts;  // devices by type that the closed stages need at least; empty where none are limited
};

// Numbers of about the same size in every problem, whatever its units: times are fractions of a stage time,
// prices are fractions of what a layer costs on average, and what spreads over orders of magnitude is taken as
// a logarithm. So what a policy has learned on one problem means the same on another one with the same types.
class Features {
 public:
  explicit Features(const Problem& problem);

  // Numbers of a layer, the same in each episode, and numbers of an episode at a layer.
  static int shared(int types);
  static int own(int types);
  int shared() const { return shared(problem_.types); }
  int own() const { return own(problem_.types); }
  static constexpr double kMost = 4;  // of a number's size: what is beyond is all the same

  // The numbers of a layer, `shared()` of them.
  const float* layer(int layer) const { return &layers_[static_cast<size_t>(layer) * shared()]; }

  EpisodeState start() const;

  // The numbers of an episode before it chooses for a layer, and what a policy that has learned nothing makes
  // of the labels: their logits, which prefer that of the layer before and cheap types. Those are -inf that are
  // certain to break a limit, unless all are; where labels mean the same, all but one.
  void observe(const EpisodeState& state, int layer, float* own, float* prior) const;

  void choose(EpisodeState& state, int layer, int label) const;

  // The reward of an episode's plan; the reference is the best plan on one type.
  double reward(const Score& score) const { return reward_of(problem_, score, scale_); }

  const Problem& problem() const { return problem_; }
  const Scorer& scorer() const { return scorer_; }  // exact

 private:
  struct Single {
    float price;      // of a stage of one layer, as a fraction of what a layer costs
    float prior;      // logit of the type, where the layer before has another one
    int least;        // devices that such a stage needs at least, whatever follows
    bool impossible;  // whether no plan that keeps the limits has this layer on this type
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
  float stay_ = 0;             // added to the logit of the label of the layer before
  std::vector<double> needs_;  // devices of each type that all layers take, as a fraction of its limit
  std::vector<Single> singles_;
  std::vector<float> layers_;
};

}  // namespace stageplan
