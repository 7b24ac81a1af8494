#include "search/perturb.h"

#include <algorithm>
#include <functional>
#include <numeric>

namespace stageplan {

std::pair<int, int> overwrite_run(const Problem& problem, Genes& scheme, Rng& rng) {
  const int layers = problem.layers, first = rng.below(layers);
  const int changes = std::inner_product(scheme.begin() + 1, scheme.end(), scheme.begin(), 0, std::plus<>(),
                                         std::not_equal_to<>());
  const int last = std::min(layers - 1, first + rng.below(2 * layers / (1 + changes)));
  std::fill(scheme.begin() + first, scheme.begin() + last + 1,
            static_cast<std::int8_t>(rng.below(problem.labels())));
  return {first, last};
}

std::pair<int, int> swap_stages(Genes& scheme, Rng& rng) {
  const int layers = static_cast<int>(scheme.size()), a = rng.below(layers), b = rng.below(layers);
  const std::int8_t label_a = scheme[a], label_b = scheme[b];
  const auto relabel = [&](int layer, std::int8_t from, std::int8_t to) {
    for (int l = layer; l >= 0 && scheme[l] == from; --l) scheme[l] = to;
    for (int l = layer + 1; l < layers && scheme[l] == from; ++l) scheme[l] = to;
  };
  if (label_a == label_b) return {a, b};
  relabel(a, label_a, label_b);
  if (scheme[b] == label_b) relabel(b, label_b, label_a);
  return {a, b};
}

}  // namespace stageplan
