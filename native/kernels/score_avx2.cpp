// Kernels for AVX2: 32 schemes at a time, one per lane.
//
// Few stages (an evolved population): the stages of each scheme, which end where the row differs from itself
// shifted by one gene, are looked up one after another. Many stages (random schemes): genes are transposed
// and all schemes walk the layers in step; short stages are looked up in registers. Either way the devices
// are then counted and priced for all lanes together, and the results are the same.
#include "kernels/kernel_sets.h"

#if STAGEPLAN_X86

STAGEPLAN_TARGET("avx2,bmi,bmi2,lzcnt,popcnt")

namespace stageplan::avx2 {
namespace {

constexpr int kLanes = 32;

// Pieces of 16 entries in which short stages are looked up: few stages of random schemes are longer.
template <int Types>
constexpr int kPieces = Types == 0   ? 4
                        : Types <= 4 ? 1
                                     : 2;

// Measured costs, in units of one stage looked up by itself: a long stage among many stages, and a layer of
// walking in step; more with many types.
constexpr double kLongStage = 3;
constexpr double kStep = 1.0 / 32, kStepOfManyTypes = 3.0 / 8;

using Bytes = __m256i;

// Genes or devices by column: 32 lanes each.
struct alignas(32) Column {
  std::uint8_t lane[kLanes];
};

// Partial scores of 32 schemes.
struct Lanes {
  alignas(32) std::uint32_t slowest[kLanes] = {};
  alignas(32) double price[kLanes];
  alignas(32) double over[kLanes] = {};

  explicit Lanes(double fixed_price) { std::fill_n(price, kLanes, fixed_price); }
};

inline Bytes load(const Column& column) { return _mm256_load_si256(reinterpret_cast<const Bytes*>(&column)); }

inline void store(Column& column, Bytes bytes) { _mm256_store_si256(reinterpret_cast<Bytes*>(&column), bytes); }

inline Bytes all(int byte) { return _mm256_set1_epi8(static_cast<char>(byte)); }

// Bytes of all ones where `bytes` >= `least`, unsigned.
inline Bytes at_least(Bytes bytes, Bytes least) {
  return _mm256_cmpeq_epi8(_mm256_max_epu8(bytes, least), bytes);
}

inline std::uint32_t mask_of(Bytes bytes) { return static_cast<std::uint32_t>(_mm256_movemask_epi8(bytes)); }

// Lanes 4 * four to 4 * four + 3, converted to doubles.
inline __m256d four_of(const Column& column, int four) {
  std::int32_t bytes;
  std::memcpy(&bytes, column.lane + 4 * four, sizeof bytes);
  return _mm256_cvtepi32_pd(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(bytes)));
}

inline Bytes label_types(Bytes labels, int shift) {
  return shift == 0 ? labels : _mm256_and_si256(_mm256_srli_epi16(labels, 1), all(0x3f));
}

// Bytes of up to 64 entries by index, in registers; 0 where the index has its highest bit set.
template <int Pieces>
class Index {
 public:
  explicit Index(Bytes index)
      : index_(index), odd_(_mm256_slli_epi16(index, 3)), upper_(_mm256_slli_epi16(index, 2)) {}

  Bytes of(const std::uint8_t* table) const {
    if constexpr (Pieces == 1) return piece(table);
    if constexpr (Pieces == 2) return pair(table);
    return _mm256_blendv_epi8(pair(table), pair(table + 32), upper_);
  }

 private:
  Bytes piece(const std::uint8_t* table) const {
    const __m128i entries = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(entries), index_);
  }
  Bytes pair(const std::uint8_t* table) const {
    return _mm256_blendv_epi8(piece(table), piece(table + 16), odd_);
  }

  Bytes index_, odd_, upper_;  // the highest bits of the last two choose between pieces
};

// Buffers of one call.
struct Buffers {
  using Columns = std::unique_ptr<Column[]>;

  size_t stride;    // bytes of a padded row: whole registers may be read from every gene and the next one
  int parts;        // of 64 layers
  Columns rows;     // (32, stride): a block of schemes, padded
  Columns genes;    // (layers + 1, 32), or labels of the stages: (stages, 32)
  Columns devices;  // likewise; 0 if no stage ends
  std::unique_ptr<std::uint64_t[]> ends;             // (32, parts): bit l of a row: a stage ends at layer l
  std::uint8_t price_bytes[8][ShortStages::kWidth];  // byte by byte, of each type; many types only
  const std::int8_t* ahead = nullptr;                // schemes to prefetch; may lie past the last

  explicit Buffers(const KernelInput& in)
      : stride((in.layers + 63) / 64 * 64 + 32),
        parts((in.layers + 63) / 64),
        rows(std::make_unique<Column[]>(stride)),
        genes(std::make_unique_for_overwrite<Column[]>(stride)),
        devices(std::make_unique_for_overwrite<Column[]>(stride)),
        ends(std::make_unique_for_overwrite<std::uint64_t[]>(kLanes * parts)) {
    if (in.types <= kCountedTypes) return;
    for (int t = 0; t < std::min(in.types, ShortStages::kWidth); ++t) {
      const auto bytes = std::bit_cast<std::array<std::uint8_t, 8>>(in.price[t]);
      for (int i = 0; i < 8; ++i) price_bytes[i][t] = bytes[i];
    }
  }
};

// Marks where the stages of one scheme end; returns how many there are.
inline int mark_ends(const std::int8_t* scheme, int layers, std::uint64_t* ends, Bytes& largest) {
  int stages = 0;
  for (int from = 0; from < layers; from += 64) {
    const auto half = [&](int at) -> std::uint64_t {
      const Bytes genes = _mm256_loadu_si256(reinterpret_cast<const Bytes*>(scheme + at));
      const Bytes next = _mm256_loadu_si256(reinterpret_cast<const Bytes*>(scheme + at + 1));
      largest = _mm256_max_epu8(largest, genes);
      return mask_of(_mm256_cmpeq_epi8(genes, next));
    };
    std::uint64_t ending = ~(half(from) | half(from + 32) << 32);
    if (const int left = layers - from; left <= 64)
      ending = (ending | std::uint64_t{1} << (left - 1)) & ~std::uint64_t{0} >> (64 - left);
    ends[from / 64] = ending;
    stages += std::popcount(ending);
  }
  return stages;
}

// Looks up the stages of one scheme, and with many types adds up their prices.
template <int Types>
inline void add_stages(const KernelInput& in, const std::int8_t* scheme, int lane, Buffers& buffers,
                       Lanes& lanes) {
  const size_t row_words = static_cast<size_t>(in.layers) * in.types;
  const std::uint32_t* row = in.words;
  std::uint8_t* label = buffers.genes[0].lane + lane;
  std::uint8_t* devices = buffers.devices[0].lane + lane;
  std::uint32_t slowest = 0;
  double price = lanes.price[lane];
  for (int part = 0; part < buffers.parts; ++part)
    for (std::uint64_t left = buffers.ends[lane * buffers.parts + part]; left != 0; left &= left - 1) {
      const size_t last = 64 * part + std::countr_zero(left);
      const int type = scheme[last] >> in.label_shift;
      const std::uint32_t word = row[last * in.types + type];
      slowest = std::max(slowest, word);
      *label = static_cast<std::uint8_t>(scheme[last]);
      *devices = static_cast<std::uint8_t>(word & PackedTable::kMostDevices);
      if constexpr (Types == 0) price += in.price[type] * *devices;
      row = in.words + (last + 1) * row_words;
      label += sizeof(Column);
      devices += sizeof(Column);
    }
  lanes.slowest[lane] = slowest;
  lanes.price[lane] = price;
}

template <int Types>
void score_few(const KernelInput& in, const std::int8_t* schemes, size_t stride, size_t count, int most,
               Buffers& buffers, Lanes& lanes) {
  std::memset(buffers.devices.get(), 0, most * sizeof(Column));
  std::memset(buffers.genes.get(), 0, most * sizeof(Column));  // valid labels also past the last stage
  for (size_t i = 0; i < count; ++i)
    add_stages<Types>(in, schemes + i * stride, static_cast<int>(i), buffers, lanes);
}

// 32 rows of 16 bytes, `stride` apart, into 16 columns, by four rounds that interleave bytes.
inline void transpose32x16(const std::int8_t* rows, size_t stride, Column* columns) {
  Bytes a[16], b[16];
  const auto row = [&](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows + i * stride)); };
  const auto round = [](const Bytes* from, Bytes* to) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      to[2 * i] = _mm256_unpacklo_epi8(from[i], from[i + 8]);
      to[2 * i + 1] = _mm256_unpackhi_epi8(from[i], from[i + 8]);
    }
  };
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) a[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(row(i)), row(i + 16), 1);
  round(a, b);
  round(b, a);
  round(a, b);
  round(b, a);
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) store(columns[i], a[i]);
}

// Maximum layers of a stage that is looked up in a given number of pieces.
inline int longest_in_step(const KernelInput& in, int pieces) {
  return std::min(in.short_stages.longest, 16 * pieces / in.types);
}

// First layer of the stage of one lane that ends at `last`.
inline int first_layer(const Buffers& buffers, int lane, int last) {
  const std::uint64_t* ends = &buffers.ends[lane * buffers.parts];
  int part = last / 64;
  std::uint64_t before = ends[part] & ((std::uint64_t{1} << last % 64) - 1);
  while (before == 0 && part > 0) before = ends[--part];
  return 64 * part + 64 - std::countl_zero(before);
}

// Looks up a long stage that ends at `last` in one lane; returns its devices.
inline std::uint8_t add_long_stage(const KernelInput& in, const Buffers& buffers, int last, int lane,
                                   Lanes& lanes) {
  const size_t first = first_layer(buffers, lane, last);
  const int type = buffers.genes[last].lane[lane] >> in.label_shift;
  const std::uint32_t word = in.words[(first * in.layers + last) * in.types + type];
  lanes.slowest[lane] = std::max(lanes.slowest[lane], word);
  return static_cast<std::uint8_t>(word & PackedTable::kMostDevices);
}

// Moves the greatest ranks of short stages, in the order left by interleaving bytes, to the lanes.
inline void add_ranks(const ShortStages& table, const Bytes* ranks, Lanes& lanes) {
  alignas(32) std::uint16_t rank[kLanes];
  _mm256_store_si256(reinterpret_cast<Bytes*>(rank), _mm256_permute2x128_si256(ranks[0], ranks[1], 0x20));
  _mm256_store_si256(reinterpret_cast<Bytes*>(rank + 16), _mm256_permute2x128_si256(ranks[0], ranks[1], 0x31));
  for (int i = 0; i < kLanes; ++i) lanes.slowest[i] = std::max(lanes.slowest[i], table.words[rank[i]]);
}

// All schemes walk the layers in step. At each layer the stages that end there are looked up in the first 16 *
// Pieces entries of its tables, except the few that are too long.
template <int Pieces>
void walk(const KernelInput& in, Buffers& buffers, Lanes& lanes) {
  const ShortStages& table = in.short_stages;
  const int longest = longest_in_step(in, Pieces);
  const Bytes width = all(in.types), behind = all(longest * in.types);
  Bytes ranks[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
  Bytes before = _mm256_setzero_si256();      // (layers of the stage before this one) * types, saturating
  store(buffers.genes[in.layers], all(255));  // not a label: the last stages end
  Bytes current = load(buffers.genes[0]);
  for (int l = 0; l < in.layers; ++l) {
    const Bytes next = load(buffers.genes[l + 1]);
    const Bytes same = _mm256_cmpeq_epi8(current, next), beyond = at_least(before, behind);
    const Index<Pieces> index(_mm256_or_si256(_mm256_or_si256(same, beyond),
                                              _mm256_add_epi8(before, label_types(current, in.label_shift))));
    const std::uint8_t* bytes = &table.rank_bytes[static_cast<size_t>(l) * 2 * ShortStages::kWidth];
    const Bytes low = index.of(bytes), high = index.of(bytes + ShortStages::kWidth);
    ranks[0] = _mm256_max_epu16(ranks[0], _mm256_unpacklo_epi8(low, high));
    ranks[1] = _mm256_max_epu16(ranks[1], _mm256_unpackhi_epi8(low, high));
    store(buffers.devices[l], index.of(&table.devices[static_cast<size_t>(l) * ShortStages::kWidth]));
    for (std::uint32_t left = mask_of(_mm256_andnot_si256(same, beyond)); left != 0; left &= left - 1) {
      const int lane = std::countr_zero(left);
      buffers.devices[l].lane[lane] = add_long_stage(in, buffers, l, lane, lanes);
    }
    before = _mm256_and_si256(same, _mm256_adds_epu8(before, width));
    current = next;
  }
  add_ranks(table, ranks, lanes);
}

// Sixteen pairs of bytes, permuted so that interleaving the two halves of the register restores their order.
inline Bytes dealt(Bytes bytes) {
  const __m128i even_first = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
  return _mm256_permute4x64_epi64(_mm256_shuffle_epi8(bytes, _mm256_broadcastsi128_si256(even_first)), 0xd8);
}

// Prices of the types of all lanes, assembled from their bytes.
inline void prices_of(const Buffers& buffers, Bytes types, __m256d* prices) {
  const Index<4> index(dealt(types));
  Bytes a[8], b[8];
  for (int i = 0; i < 8; ++i) a[i] = index.of(buffers.price_bytes[i]);
  for (int i = 0; i < 4; ++i) {
    b[i] = _mm256_unpacklo_epi8(a[2 * i], a[2 * i + 1]);
    b[i + 4] = _mm256_unpackhi_epi8(a[2 * i], a[2 * i + 1]);
  }
  for (int i = 0; i < 4; ++i) {
    a[i / 2 * 4 + i % 2] = _mm256_unpacklo_epi16(b[2 * i], b[2 * i + 1]);
    a[i / 2 * 4 + i % 2 + 2] = _mm256_unpackhi_epi16(b[2 * i], b[2 * i + 1]);
  }
  for (int i = 0; i < 4; ++i) {
    prices[2 * i] = _mm256_castsi256_pd(_mm256_unpacklo_epi32(a[2 * i], a[2 * i + 1]));
    prices[2 * i + 1] = _mm256_castsi256_pd(_mm256_unpackhi_epi32(a[2 * i], a[2 * i + 1]));
  }
}

// Adds up the prices of all stages, in their order.
void add_prices_by_stage(const KernelInput& in, const Buffers& buffers, Lanes& lanes) {
  __m256d sums[kLanes / 4], prices[kLanes / 4];
  for (int i = 0; i < kLanes / 4; ++i) sums[i] = _mm256_load_pd(lanes.price + 4 * i);
  for (int l = 0; l < in.layers; ++l) {
    prices_of(buffers, label_types(load(buffers.genes[l]), in.label_shift), prices);
#pragma GCC unroll 8
    for (int i = 0; i < kLanes / 4; ++i)
      sums[i] = _mm256_add_pd(sums[i], _mm256_mul_pd(prices[i], four_of(buffers.devices[l], i)));
  }
  for (int i = 0; i < kLanes / 4; ++i) _mm256_store_pd(lanes.price + 4 * i, sums[i]);
}

template <int Types>
void score_many(const KernelInput& in, const std::int8_t* schemes, size_t stride, Buffers& buffers,
                Lanes& lanes) {
  for (int from = 0; from < in.layers; from += 16) transpose32x16(schemes + from, stride, &buffers.genes[from]);
  walk<kPieces<Types>>(in, buffers, lanes);
  if constexpr (Types == 0) add_prices_by_stage(in, buffers, lanes);
}

// Devices of 32 schemes, by type or, with many types, modulo kBuckets, which is usually enough to show that no
// limit is exceeded. Saturating.
template <int Types>
struct Counts {
  static constexpr int kCounts = Types > 0 ? Types : kBuckets;
  static constexpr int kTogether = std::min(kCounts, 8);  // counts that fit registers
  Column of[kCounts];

  Counts(const KernelInput& in, const Buffers& buffers, int rows) {
    for (int from = 0; from < kCounts; from += kTogether) count(in, buffers, rows, from);
  }

 private:
  void count(const KernelInput& in, const Buffers& buffers, int rows, int from) {
    Bytes counts[kTogether];
    for (auto& count : counts) count = _mm256_setzero_si256();
    for (int row = 0; row < rows; ++row) {
      const Bytes devices = load(buffers.devices[row]);
      Bytes types = label_types(load(buffers.genes[row]), in.label_shift);
      if constexpr (Types == 0) types = _mm256_and_si256(types, all(kBuckets - 1));
#pragma GCC unroll 8
      for (int t = 0; t < kTogether; ++t) {
        const Bytes here = _mm256_cmpeq_epi8(types, all(from + t));
        counts[t] = _mm256_adds_epu8(counts[t], _mm256_and_si256(here, devices));
      }
    }
    for (int t = 0; t < kTogether; ++t) store(of[from + t], counts[t]);
  }
};

// Adds the violation of the limit of one type.
void add_broken(const KernelInput& in, const Column& counts, int type, Lanes& lanes) {
  const Bytes limit = all(std::min<int>(in.limit_word[type], 255));
  if (mask_of(at_least(limit, load(counts))) == ~std::uint32_t{0}) return;
  for (int i = 0; i < kLanes / 4; ++i) {
    const __m256d above =
        _mm256_max_pd(_mm256_sub_pd(four_of(counts, i), _mm256_set1_pd(in.limit[type])), _mm256_setzero_pd());
    const __m256d broken = _mm256_mul_pd(above, _mm256_set1_pd(in.limit_weight[type]));
    _mm256_store_pd(lanes.over + 4 * i, _mm256_add_pd(_mm256_load_pd(lanes.over + 4 * i), broken));
  }
}

// Adds up prices and the violation of limits by type.
void price_types(const KernelInput& in, const Column* counts, Lanes& lanes) {
  for (int i = 0; i < kLanes / 4; ++i) {
    __m256d price = _mm256_load_pd(lanes.price + 4 * i);
    for (int t = 0; t < in.types; ++t)
      price = _mm256_add_pd(price, _mm256_mul_pd(_mm256_set1_pd(in.price[t]), four_of(counts[t], i)));
    _mm256_store_pd(lanes.price + 4 * i, price);
  }
  for (int t = 0; t < in.types; ++t) add_broken(in, counts[t], t, lanes);
}

// Counts the devices of one lane exactly: their violation and, with few types, their price.
void recount(const KernelInput& in, const Buffers& buffers, int rows, int lane, Lanes& lanes) {
  std::int64_t counts[kMaxLabels] = {};
  for (int row = 0; row < rows; ++row)
    counts[buffers.genes[row].lane[lane] >> in.label_shift] += buffers.devices[row].lane[lane];
  const Problem& problem = in.scorer.problem();
  lanes.over[lane] = limit_violation(problem, counts);
  if (in.types <= kCountedTypes) lanes.price[lane] = hourly_price(problem, counts);
}

// Completes the prices of all lanes and the violation of limits.
template <int Types>
void price_lanes(const KernelInput& in, const Buffers& buffers, int rows, Lanes& lanes) {
  const Counts<Types> counts(in, buffers, rows);
  if constexpr (Types > 0) price_types(in, counts.of, lanes);
  std::uint32_t unsure = 0;
  for (int t = 0; t < Counts<Types>::kCounts; ++t) {
    const int most = Types > 0 ? 254 : in.bucket_limit[t];
    unsure |= mask_of(at_least(load(counts.of[t]), all(most + 1)));
  }
  for (; unsure != 0; unsure &= unsure - 1) recount(in, buffers, rows, std::countr_zero(unsure), lanes);
}

inline __m256d excess(__m256d value, double limit) {
  const __m256d above = _mm256_cmp_pd(value, _mm256_set1_pd(limit * (1 + kTolerance)), _CMP_GT_OQ);
  if (_mm256_movemask_pd(above) == 0) return _mm256_setzero_pd();
  return _mm256_and_pd(above, _mm256_sub_pd(_mm256_div_pd(value, _mm256_set1_pd(limit)), _mm256_set1_pd(1)));
}

// As price_plan, four lanes at a time, into the lanes.
void finish(const KernelInput& in, Lanes& lanes, const std::int8_t* schemes, size_t stride, size_t count,
            const ScoreArrays& scores) {
  alignas(32) double times[kLanes], costs[kLanes], violations[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    const bool fits = (lanes.slowest[i] & PackedTable::kUnfit) == 0;
    times[i] = in.times[fits ? lanes.slowest[i] >> PackedTable::kDeviceBits : 0];
  }
  const Problem& problem = in.scorer.problem();
  for (int i = 0; i < kLanes; i += 4) {
    const __m256d time = _mm256_load_pd(times + i), price = _mm256_load_pd(lanes.price + i);
    const __m256d cost = _mm256_mul_pd(_mm256_mul_pd(_mm256_set1_pd(problem.cost_scale()), time), price);
    const __m256d devices = _mm256_add_pd(_mm256_load_pd(lanes.over + i), excess(price, problem.max_price));
    const __m256d violation = _mm256_add_pd(_mm256_add_pd(devices, excess(time, problem.goal_time())),
                                            excess(cost, problem.max_cost));
    _mm256_store_pd(costs + i, cost);
    _mm256_store_pd(violations + i, violation);
  }
  std::copy_n(costs, count, scores.cost);
  std::copy_n(times, count, scores.time);
  std::copy_n(violations, count, scores.violation);
  if (scores.price) std::copy_n(lanes.price, count, scores.price);
  for (size_t i = 0; i < count; ++i)
    if (lanes.slowest[i] & PackedTable::kUnfit)
      scores.set(i, in.skip_unfit ? Score() : in.scorer.score_by_table(schemes + i * stride));
}

// Whether a block with `stages` stages is scored faster by walking the layers in step. The number of stages too
// long for tables is estimated as if stages ended at all layers with equal probability.
template <int Types>
bool has_many(const KernelInput& in, int stages) {
  if (in.short_stages.longest == 0) return false;
  const double genes = kLanes * in.layers;
  double too_long = stages;
  for (int n = longest_in_step(in, kPieces<Types>); n > 0; --n) too_long *= 1 - stages / genes;
  return stages > kLongStage * too_long + (Types > 0 ? kStep : kStepOfManyTypes) * genes;
}

// Scores at most 32 schemes, `stride` bytes apart. Returns false if a gene is not a label.
template <int Types>
bool score_block(const KernelInput& in, const std::int8_t* schemes, size_t stride, size_t count,
                 Buffers& buffers, const ScoreArrays& scores) {
  Bytes largest = _mm256_setzero_si256();
  int most = 0, sum = 0;
  for (int i = 0; i < kLanes; ++i) {
    for (int l = 0; l < in.layers; l += 64) _mm_prefetch(buffers.ahead + i * in.layers + l, _MM_HINT_T1);
    const int n = mark_ends(schemes + i * stride, in.layers, &buffers.ends[i * buffers.parts], largest);
    most = std::max(most, n);
    sum += n;
  }
  const bool many = has_many<Types>(in, sum);
  if (mask_of(at_least(all(in.labels - 1), largest)) != ~std::uint32_t{0}) return false;
  Lanes lanes(in.scorer.problem().fixed_price);
  if (many)
    score_many<Types>(in, schemes, stride, buffers, lanes);
  else
    score_few<Types>(in, schemes, stride, count, most, buffers, lanes);
  price_lanes<Types>(in, buffers, many ? in.layers : most, lanes);
  finish(in, lanes, schemes, stride, count, scores);
  return true;
}

template <int Types>
bool score_all(const KernelInput& in, const std::int8_t* schemes, size_t count, ScoreArrays scores) {
  Buffers buffers(in);
  const size_t layers = in.layers, size = count * layers;
  auto* padded = reinterpret_cast<std::int8_t*>(buffers.rows.get());
  for (size_t from = 0; from < count; from += kLanes) {
    const size_t block = std::min<size_t>(kLanes, count - from);
    const std::int8_t* rows = schemes + from * layers;
    size_t stride = layers;
    buffers.ahead = rows + 2 * kLanes * layers;  // prefetched line by line during other work
    // Whole registers are read from rows in place only if they stay within the array.
    if (block < kLanes || (from + kLanes - 1) * layers + buffers.stride > size) {
      for (size_t i = 0; i < block; ++i) std::memcpy(padded + i * buffers.stride, rows + i * layers, layers);
      rows = padded;
      stride = buffers.stride;
    }
    if (!score_block<Types>(in, rows, stride, block, buffers, scores.from(from))) return false;
  }
  return true;
}

}  // namespace

// Genes as unsigned numbers: negative ones are the largest.
std::uint8_t largest_gene(const std::int8_t* genes, size_t count) {
  std::uint8_t largest = 0;
  for (size_t i = 0; i < count; ++i) largest = std::max(largest, static_cast<std::uint8_t>(genes[i]));
  return largest;
}

bool score_schemes(const KernelInput& in, const std::int8_t* schemes, size_t count, const ScoreArrays& scores) {
  if (count < kLanes / 4) return baseline::score_schemes(in, schemes, count, scores);
  switch (in.types) {
    case 1:
    case 2:
      return score_all<2>(in, schemes, count, scores);
    case 3:
    case 4:
      return score_all<4>(in, schemes, count, scores);
    case 5:
    case 6:
    case 7:
    case 8:
      return score_all<8>(in, schemes, count, scores);
    default:
      return in.types <= kCountedTypes ? score_all<kCountedTypes>(in, schemes, count, scores)
                                       : score_all<0>(in, schemes, count, scores);
  }
}

}  // namespace stageplan::avx2

STAGEPLAN_END_TARGET

#endif
