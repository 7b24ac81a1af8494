// Scores among options, for AVX-512.
#include "kernels/kernel_sets.h"

#if STAGEPLAN_X86

// GCC 12 calls the undefined operand of its own intrinsics uninitialized.
#pragma GCC diagnostic ignored "-Wuninitialized"
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
STAGEPLAN_TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx2,bmi,bmi2,lzcnt,popcnt")

namespace stageplan::avx512 {
namespace {

// Bit i of the result: a stage ends at layer i of these at most 64.
std::uint64_t stage_ends(const std::int8_t* genes, int count, bool last) {
  const std::uint64_t end = std::uint64_t{1} << (count - 1);
  const __mmask64 pairs = last ? end - 1 : ~__mmask64{0};
  const __m512i here = _mm512_maskz_loadu_epi8(pairs, genes), next = _mm512_maskz_loadu_epi8(pairs, genes + 1);
  return _mm512_cmpneq_epi8_mask(here, next) | (last ? end : 0);
}

}  // namespace

#include "kernels/option_kernels-inl.h"

}  // namespace stageplan::avx512

STAGEPLAN_END_TARGET

#endif
