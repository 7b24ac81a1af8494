#include "kernels/breeding.h"

#include <algorithm>
#include <cstring>

#include "kernels/kernel_sets.h"

namespace stageplan::baseline {
namespace {

// First layer of from..to-1 whose label differs from that of the layer before it; `to` if none does.
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

void shift_edge(const Births::Mutation& mutation, size_t i, int layers, std::int8_t* scheme) {
  if (layers < 2) return;
  const int from = static_cast<int>(mutation.from[i]), length = static_cast<int>(mutation.edge_length[i]);
  int at = next_edge(scheme, from, layers);
  if (at == layers && (at = next_edge(scheme, 1, from)) == from) return;  // wraps around
  if (mutation.back[i])
    std::fill(scheme + std::max(0, at - length), scheme + at, scheme[at]);
  else
    std::fill(scheme + at, scheme + std::min(layers, at + length), scheme[at - 1]);
}

void make_child(const Parents& parents, const Births& births, size_t i, size_t turn, std::int8_t* child) {
  const size_t layers = parents.layers, cut = births.cut[i];
  std::copy_n(parents.genes + births.first[i] * layers, cut, child);
  std::copy_n(parents.genes + births.second[i] * layers + cut, layers - cut, child + cut);
  for (size_t m = 0; m < Births::mutations(turn, parents); ++m) {
    const Births::Mutation& mutation = births.mutation[m];
    if (Births::shifts(turn, m))
      shift_edge(mutation, i, parents.layers, child);
    else
      std::fill_n(child + mutation.first[i], mutation.length[i], static_cast<std::int8_t>(mutation.label[i]));
  }
}

}  // namespace

void breed(const Parents& parents, const Rng& rng, size_t from, size_t count, std::int8_t* children) {
  for (size_t begin = 0; begin < count; begin += Births::kBlock) {
    const size_t size = std::min(Births::kBlock, count - begin);
    const Births births(parents, rng, from + begin);
    for (size_t i = 0; i < size; ++i)
      make_child(parents, births, i, from + begin + i, children + (begin + i) * parents.layers);
  }
}

}  // namespace stageplan::baseline
