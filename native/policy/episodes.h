// Episodes of a policy: each goes through the layers and chooses a label for one after the other.
#pragma once

#include <functional>
#include <vector>

#include "policy/features.h"
#include "policy/policy.h"
#include "search/schemes.h"

namespace stageplan {

// Some that are played side by side.
class Episodes {
 public:
  Episodes(const Features& features, const PolicyShape& shape, int count);

  // Plays them all. `pick` chooses the label of an episode's layer, from the probabilities of all labels.
  using Pick = std::function<int(int episode, int layer, const float* probabilities)>;
  void play(const float* weights, const Pick& pick);

  int count() const { return count_; }
  const std::int8_t* scheme(int episode) const { return &schemes_[episode * layers_]; }

  // Once after they were played: adds to `gradient` that of
  //     - sum over episodes and layers of (weight * log(probability of what was chosen) + entropy * H)
  // with a weight an episode and the entropy H of the probabilities; of episodes of weight 0 nothing.
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

// The scheme of the likeliest label of each layer.
Genes decode(const Features& features, const PolicyShape& shape, const float* weights);

}  // namespace stageplan
