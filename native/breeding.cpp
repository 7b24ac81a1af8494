#include "breeding.h"

#include <algorithm>
#include <cstring>

#include "kernel_sets.h"

namespace stageplan::baseline {
namespace {

// First layer of from..to-1 whose label differs from that of the layer before it; `to` where none does.
int next_edge(const std::int8_t* scheme, int from, int to) {
  for (; from + 8 <= to; from += 8) {
    std::uint64_t here, before;
    std::memcpy(&here, scheme + from, 8);
    std::memcpy(&before, scheme + from - 1, 8);
    if (here != before) break;
  }
  while (from < to && scheme[from] == scheme[from - 1]) ++from;
  return from;
}

void shift_edge(const Birth& birth, int m, int layers, std::int8_t* scheme) {
  if (layers < 2) return;
  const int from = birth.shift_from(m, layers), length = birth.shift_length(m);
  int at = next_edge(scheme, from, layers);
  if (at == layers && (at = next_edge(scheme, 1, from)) == from) return;  // round the end
  if (birth.shifts_back(m))
    std::fill(scheme + std::max(0, at - length), scheme + at, scheme[at]);
  else
    std::fill(scheme + at, scheme + std::min(layers, at + length), scheme[at - 1]);
}

}  // namespace

void breed(const Parents& parents, const Rng& rng, size_t from, size_t count, std::int8_t* children) {
  const int layers = parents.layers;
  const auto row = [&](size_t i) { return parents.genes + i * layers; };
  for (size_t turn = from; turn < from + count; ++turn) {
    const Birth birth(parents, rng, turn);
    std::int8_t* child = children + (turn - from) * layers;
    const int cut = birth.crossed() ? birth.cut(layers) : layers;
    std::copy_n(row(birth.first(parents)), cut, child);
    if (birth.crossed()) std::copy_n(row(birth.second(parents)) + cut, layers - cut, child + cut);
    for (int m = 0; m < birth.mutations(); ++m) {
      if (birth.shifts(m)) {
        shift_edge(birth, m, layers, child);
        continue;
      }
      const int first = birth.run_first(m, layers);
      std::fill_n(child + first, birth.run_length(m, layers - first),
                  static_cast<std::int8_t>(birth.run_label(m, parents.labels)));
    }
  }
}

}  // namespace stageplan::baseline
