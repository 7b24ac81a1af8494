// Episodes of a policy: each chooses a label layer by layer.
#pragma once

#include <functional>
#include <vector>

#include "policy/features.h"
#include "policy/policy.h"
#include "search/schemes.h"

namespace stageplan {

// Episodes that are sampled side by side.
class Episodes {
 public:
  Episodes(const Features& features, const PolicyShape& shape, int count);

  // Samples them all. `pick` chooses the label of a layer in an episode from the probabilities of all labels.
  using Pick = std::function<int(int episode, int layer, const float* probabilities)>;
  void play(const float* weights, const Pick& pick);

  int count() const { return count_; }
  const std::int8_t* scheme(int episode) const { return &schemes_[episode * layers_]; }

  // To be called once after play(): adds to `gradient` that of
  //     - sum over episodes and layers of (weight * log(probability of the choice) + entropy * H)
  // with one weight per episode and the entropy H of the probabilities; episodes of weight 0 add nothing.
  void differentiate(const double* weights, double entropy, float* gradient);

 private:
  float* probabilities(int layer, int episode) {
    return &probabilities_[(static_cast<size_t>(layer) * count_ + episode) * labels_];
  }

  const Features& features_;
  const int count_, labels_;
  const size_t layers_;
  Rollout<float> rollout_;
  std::vector<EpisodeState> states_;
  std::vector<float> own_, probabilities_;
  std::vector<int> previous_;
  Genes schemes_;
};

// The scheme with the most probable label of each layer.
Genes decode(const Features& features, const PolicyShape& shape, const float* weights);

}  // namespace stageplan
