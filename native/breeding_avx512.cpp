// Breeding with AVX-512: a scheme of up to 64 layers is one register, and what happens to it a mask.
#include "breeding.h"
#include "kernel_sets.h"

#if STAGEPLAN_X86

// GCC 12 calls the undefined operand of its own intrinsics uninitialized.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi2,avx512vbmi,avx2,bmi,bmi2,lzcnt,popcnt")

namespace stageplan::avx512 {
namespace {

constexpr int kMostLayers = 64;
constexpr size_t kBlock = 32;  // children whose parents are chosen before their genes are read

// Layers first..last - 1.
inline __mmask64 run(int first, int last) { return _bzhi_u64(~std::uint64_t{0} << first, last); }

inline __m512i everywhere(__m512i scheme, int layer) {
  return _mm512_permutexvar_epi8(_mm512_set1_epi8(static_cast<char>(layer)), scheme);
}

inline __m512i shift_edge(const Birth& birth, int m, int layers, __m512i scheme) {
  alignas(64) static constexpr auto kBefore = [] {
    std::array<std::uint8_t, 64> before{};
    for (int i = 0; i < 64; ++i) before[i] = static_cast<std::uint8_t>((i + 63) % 64);
    return before;
  }();
  const __m512i before = _mm512_permutexvar_epi8(_mm512_load_si512(kBefore.data()), scheme);
  const std::uint64_t edges = _mm512_mask_cmpneq_epi8_mask(run(1, layers), scheme, before);
  if (edges == 0) return scheme;
  const int from = birth.shift_from(m, layers), length = birth.shift_length(m);
  const int at = (from + std::countr_zero(std::rotr(edges, from))) % 64;
  const bool back = birth.shifts_back(m);
  const __mmask64 moved = back ? run(std::max(0, at - length), at) : run(at, std::min(layers, at + length));
  return _mm512_mask_mov_epi8(scheme, moved, everywhere(scheme, back ? at : at - 1));
}

inline __m512i mutate(const Birth& birth, int m, const Parents& parents, __m512i scheme) {
  if (birth.shifts(m)) return parents.layers < 2 ? scheme : shift_edge(birth, m, parents.layers, scheme);
  const int first = birth.run_first(m, parents.layers);
  const __mmask64 given = run(first, first + birth.run_length(m, parents.layers - first));
  return _mm512_mask_set1_epi8(scheme, given, static_cast<char>(birth.run_label(m, parents.labels)));
}

struct Child {
  Birth birth;
  const std::int8_t *first, *second;

  Child(const Parents& parents, const Rng& rng, size_t turn)
      : birth(parents, rng, turn),
        first(parents.genes + birth.first(parents) * parents.layers),
        second(parents.genes + birth.second(parents) * parents.layers) {
    __builtin_prefetch(first);
    __builtin_prefetch(second);
  }

  __m512i make(const Parents& parents, __mmask64 all) const {
    __m512i scheme = _mm512_maskz_loadu_epi8(all, first);
    if (birth.crossed())
      scheme = _mm512_mask_loadu_epi8(scheme, all & ~std::uint64_t{0} << birth.cut(parents.layers), second);
    for (int m = 0; m < birth.mutations(); ++m) scheme = mutate(birth, m, parents, scheme);
    return scheme;
  }
};

}  // namespace

void breed(const Parents& parents, const Rng& rng, size_t from, size_t count, std::int8_t* children) {
  const int layers = parents.layers;
  if (layers > kMostLayers) return baseline::breed(parents, rng, from, count, children);
  const __mmask64 all = run(0, layers);
  union Block {
    Child child[kBlock];
    Block() {}
  } block;
  for (size_t begin = 0; begin < count; begin += kBlock) {
    const size_t size = std::min(kBlock, count - begin);
    for (size_t i = 0; i < size; ++i) new (&block.child[i]) Child(parents, rng, from + begin + i);
    for (size_t i = begin; i < begin + size; ++i) {
      const __m512i scheme = block.child[i - begin].make(parents, all);
      if ((i + 1) * layers + 64 <= count * layers)  // what is written behind it is overwritten by the next ones
        _mm512_storeu_si512(children + i * layers, scheme);
      else
        _mm512_mask_storeu_epi8(children + i * layers, all, scheme);
    }
  }
}

}  // namespace stageplan::avx512

#pragma GCC pop_options

#endif
