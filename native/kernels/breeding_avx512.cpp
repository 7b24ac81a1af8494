// Breeding with AVX-512: a scheme of up to 64 layers is one register, and changes of it are masks.
#include "kernels/breeding.h"
#include "kernels/kernel_sets.h"

#if STAGEPLAN_X86

// GCC 12 calls the undefined operand of its own intrinsics uninitialized.
#pragma GCC diagnostic ignored "-Wuninitialized"
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
STAGEPLAN_TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi2,avx512vbmi,avx2,bmi,bmi2,lzcnt,popcnt")

namespace stageplan::avx512 {
namespace {

constexpr size_t kMostLayers = 64;

// Layers first..last - 1.
inline __mmask64 run(int first, int last) { return _bzhi_u64(~std::uint64_t{0} << first, last); }

inline __m512i shift_edge(const Births::Mutation& mutation, size_t i, int layers, __m512i scheme) {
  alignas(64) static constexpr auto kBefore = [] {
    std::array<std::uint8_t, 64> before{};
    for (int i = 0; i < 64; ++i) before[i] = static_cast<std::uint8_t>((i + 63) % 64);
    return before;
  }();
  const __m512i before = _mm512_permutexvar_epi8(_mm512_load_si512(kBefore.data()), scheme);
  const std::uint64_t edges = _mm512_mask_cmpneq_epi8_mask(run(1, layers), scheme, before);
  if (edges == 0) return scheme;
  const int from = static_cast<int>(mutation.from[i]), length = static_cast<int>(mutation.edge_length[i]);
  const int back = static_cast<int>(mutation.back[i]);
  const int at = (from + std::countr_zero(std::rotr(edges, from))) % 64, first = at - back * length;
  const __mmask64 moved = run(std::max(0, first), std::min(layers, first + length));
  const __m512i label = _mm512_set1_epi8(static_cast<char>(at - 1 + back));  // position of the new label
  return _mm512_mask_permutexvar_epi8(scheme, moved, label, scheme);
}

inline __m512i make_child(const Parents& parents, const Births& births, size_t i, size_t turn, __mmask64 all) {
  const size_t layers = parents.layers;
  __m512i scheme = _mm512_maskz_loadu_epi8(all, parents.genes + births.first[i] * layers);
  const __mmask64 second = all & ~_bzhi_u64(all, births.cut[i]);
  scheme = _mm512_mask_loadu_epi8(scheme, second, parents.genes + births.second[i] * layers);
  for (size_t m = 0; m < Births::mutations(turn, parents); ++m) {
    const Births::Mutation& mutation = births.mutation[m];
    if (Births::shifts(turn, m)) {
      scheme = shift_edge(mutation, i, parents.layers, scheme);
    } else {
      const __mmask64 given = run(mutation.first[i], mutation.first[i] + mutation.length[i]);
      scheme = _mm512_mask_set1_epi8(scheme, given, static_cast<char>(mutation.label[i]));
    }
  }
  return scheme;
}

}  // namespace

void breed(const Parents& parents, const Rng& rng, size_t from, size_t count, std::int8_t* children) {
  const size_t layers = parents.layers;
  if (layers > kMostLayers) return baseline::breed(parents, rng, from, count, children);
  const __mmask64 all = run(0, parents.layers);
  for (size_t begin = 0; begin < count; begin += Births::kBlock) {
    const size_t size = std::min(Births::kBlock, count - begin);
    const Births births(parents, rng, from + begin);
    for (size_t i = 0; i < size; ++i) {
      const __m512i scheme = make_child(parents, births, i, from + begin + i, all);
      const size_t to = (begin + i) * layers;
      if (to + 64 <= count * layers)  // what is written past it is overwritten by the next child
        _mm512_storeu_si512(children + to, scheme);
      else
        _mm512_mask_storeu_epi8(children + to, all, scheme);
    }
  }
}

}  // namespace stageplan::avx512

STAGEPLAN_END_TARGET

#endif
