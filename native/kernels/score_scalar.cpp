// Kernels without vector intrinsics, for every processor.
#include "kernels/kernel_sets.h"

namespace stageplan::baseline {
namespace {

// Bit i of the result: a stage ends at layer i of these (at most 64).
inline std::uint64_t stage_ends(const std::int8_t* genes, int count, bool last) {
  std::uint64_t ends = 0;
  std::int8_t differs[64] = {};
  const int pairs = last ? count - 1 : count;
  if (pairs == 64)
    for (int i = 0; i < 64; ++i) differs[i] = genes[i] != genes[i + 1] ? 1 : 0;
  else
    for (int i = 0; i < pairs; ++i) differs[i] = genes[i] != genes[i + 1] ? 1 : 0;
  if (last) differs[count - 1] = 1;
  for (int i = 0; i < 8; ++i) {
    std::uint64_t eight;
    std::memcpy(&eight, differs + 8 * i, 8);
    ends |= (eight * 0x0102040810204080u >> 56) << (8 * i);  // gathers the lowest bit of each byte
  }
  return ends;
}

// Devices by type, and the types that have any, so that the others are skipped.
struct Counts {
  std::int64_t of[kMaxLabels];
  std::uint64_t used[kMaxLabels / 64] = {};

  explicit Counts(int types) { std::fill(of, of + types, 0); }

  void add(int type, std::int64_t devices) {
    of[type] += devices;
    used[type / 64] |= std::uint64_t{1} << (type % 64);
  }

  template <class Visit>
  void each(Visit visit) const {
    for (int w = 0; w < kMaxLabels / 64; ++w)
      for (std::uint64_t left = used[w]; left != 0; left &= left - 1) {
        const int type = 64 * w + std::countr_zero(left);
        visit(type, static_cast<double>(of[type]));
      }
  }
};

// Scores one scheme; sums over types or stages in the same order as every kernel.
inline Score score_scheme(const KernelInput& in, const std::int8_t* scheme) {
  const Problem& problem = in.scorer.problem();
  const size_t layers = in.layers, row_words = layers * in.types;
  Counts counts(in.types);
  std::uint32_t slowest = 0;
  double by_stage = problem.fixed_price, by_type = by_stage, over = 0;
  const std::uint32_t* row = in.words;
  for (size_t from = 0; from < layers; from += 64) {
    const int part = static_cast<int>(std::min<size_t>(64, layers - from));
    for (std::uint64_t ends = stage_ends(scheme + from, part, from + part == layers); ends != 0;
         ends &= ends - 1) {
      const size_t last = from + std::countr_zero(ends);
      const int type = scheme[last] >> in.label_shift;
      const std::uint32_t word = row[last * in.types + type], devices = word & PackedTable::kMostDevices;
      slowest = std::max(slowest, word);
      counts.add(type, devices);
      by_stage += in.price[type] * devices;
      row = in.words + (last + 1) * row_words;
    }
  }
  if (slowest & PackedTable::kUnfit) return in.skip_unfit ? Score() : in.scorer.score_by_table(scheme);
  counts.each([&](int type, double devices) {
    by_type += in.price[type] * devices;
    over += std::max(0.0, devices - in.limit[type]) * in.limit_weight[type];
  });
  return price_plan(problem, in.times[slowest >> PackedTable::kDeviceBits],
                    in.types <= kCountedTypes ? by_type : by_stage, over, 0);
}

}  // namespace

// Genes as unsigned numbers: negative ones are the largest.
std::uint8_t largest_gene(const std::int8_t* genes, size_t count) {
  std::uint8_t largest = 0;
  for (size_t i = 0; i < count; ++i) largest = std::max(largest, static_cast<std::uint8_t>(genes[i]));
  return largest;
}

bool score_schemes(const KernelInput& in, const std::int8_t* schemes, size_t count, const ScoreArrays& scores) {
  for (size_t i = 0; i < count; ++i) {
    const std::int8_t* scheme = schemes + i * in.layers;
    if (largest_gene(scheme, in.layers) >= in.labels) return false;
    scores.set(i, score_scheme(in, scheme));
  }
  return true;
}

}  // namespace stageplan::baseline
