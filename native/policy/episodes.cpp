#include "policy/episodes.h"

#include <algorithm>

#include "common/elementary.h"
#include "common/stop.h"

namespace stageplan {
namespace {

// From probabilities to the gradient of the logits, in place.
void to_gradient(float* values, int labels, int chosen, double weight, double entropy) {
  double mean = 0;  // of the logarithms of the probabilities
  if (entropy > 0)
    for (int k = 0; k < labels; ++k)
      if (values[k] > 0) mean += values[k] * portable::log<double>(values[k]);
  const bool possible = values[chosen] > 0;
  for (int k = 0; k < labels; ++k) {
    const double p = values[k];
    double gradient = possible ? weight * (p - (k == chosen ? 1 : 0)) : 0;
    if (entropy > 0 && p > 0) gradient += entropy * p * (portable::log(p) - mean);
    values[k] = static_cast<float>(gradient);
  }
}

}  // namespace

Episodes::Episodes(const Features& features, const PolicyShape& shape, int count)
    : features_(features),
      count_(count),
      labels_(shape.labels),
      layers_(features.problem().layers),
      rollout_(shape, count, features.problem().layers),
      states_(count),
      own_(static_cast<size_t>(count) * shape.own),
      probabilities_(layers_ * count * shape.labels),
      previous_(count),
      schemes_(layers_ * count) {}

void Episodes::play(const float* weights, const Pick& pick) {
  rollout_.begin(weights);
  std::fill(states_.begin(), states_.end(), features_.start());
  std::fill(previous_.begin(), previous_.end(), -1);
  for (int l = 0; l < static_cast<int>(layers_); ++l) {
    check_stop();
    for (int e = 0; e < count_; ++e)
      features_.observe(states_[e], l, &own_[static_cast<size_t>(e) * features_.own()], probabilities(l, e));
    const float* logits = rollout_.step(features_.layer(l), own_.data(), previous_.data());
    for (int e = 0; e < count_; ++e, logits += labels_) {
      float* values = probabilities(l, e);
      for (int k = 0; k < labels_; ++k) values[k] += logits[k];
      softmax(values, labels_);
      const int label = pick(e, l, values);
      features_.choose(states_[e], l, label);
      schemes_[e * layers_ + l] = static_cast<std::int8_t>(label);
      previous_[e] = label;
    }
  }
}

void Episodes::differentiate(const double* weights, double entropy, float* gradient) {
  for (int l = 0; l < static_cast<int>(layers_); ++l)
    for (int e = 0; e < count_; ++e)
      to_gradient(probabilities(l, e), labels_, scheme(e)[l], weights[e], weights[e] == 0 ? 0 : entropy);
  rollout_.backward(probabilities_.data(), gradient);
}

Genes decode(const Features& features, const PolicyShape& shape, const float* weights) {
  Episodes one(features, shape, 1);
  one.play(weights, [&](int, int, const float* probabilities) {
    return static_cast<int>(std::max_element(probabilities, probabilities + shape.labels) - probabilities);
  });
  return Genes(one.scheme(0), one.scheme(0) + features.problem().layers);
}

}  // namespace stageplan
