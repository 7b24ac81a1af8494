// Scores among options, for AVX2.
#include "kernels/kernel_sets.h"

#if STAGEPLAN_X86

STAGEPLAN_TARGET("avx2,bmi,bmi2,lzcnt,popcnt")

namespace stageplan::avx2 {
namespace {

inline __m256i load(const std::int8_t* genes) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(genes));
}

// Bit i of the result: the i-th of 32 genes is that behind it.
inline std::uint64_t same(const std::int8_t* genes) {
  return static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(load(genes), load(genes + 1))));
}

inline std::uint64_t differing(const std::int8_t* genes) { return ~(same(genes) | same(genes + 32) << 32); }

// Bit i of the result: a stage ends at layer i of these at most 64.
std::uint64_t stage_ends(const std::int8_t* genes, int count, bool last) {
  if (!last) return differing(genes);
  std::int8_t padded[65] = {};
  std::memcpy(padded, genes, count);
  const std::uint64_t end = std::uint64_t{1} << (count - 1);
  return (differing(padded) & (end - 1)) | end;
}

}  // namespace

#include "kernels/option_kernels-inl.h"

}  // namespace stageplan::avx2

STAGEPLAN_END_TARGET

#endif
