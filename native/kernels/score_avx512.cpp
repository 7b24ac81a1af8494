// Kernels for AVX-512 with VBMI2: 64 schemes at a time, one per lane.
//
// Few stages (an evolved population): the ends of each scheme's stages are found by comparing the row with
// itself shifted by one gene and packed to the front by a compressing store; the s-th stages of all 64
// schemes are then looked up together. Many stages (random schemes): genes are transposed and all schemes
// walk the layers in step. Either way a stage costs one gather lane, and the results are the same.
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

constexpr int kLanes = 64;
constexpr int kGroups = kLanes / 16;  // lanes of 32 bits in a register: 16
constexpr int kFewLayers = 256;       // maximum layers for which a stage's end fits a byte
constexpr int kFewStages = 24;        // mean stages per scheme up to which "few stages" is faster

using Bytes = __m512i;

// Genes, ends or types by column: 64 lanes each.
struct alignas(64) Column {
  std::uint8_t lane[kLanes];
};

// Partial scores of 64 schemes.
struct Lanes {
  __m512i slowest[kGroups];
  __m512d price[kLanes / 8];  // with many types, summed by stage

  explicit Lanes(double fixed_price) {
    for (auto& group : slowest) group = _mm512_setzero_si512();
    for (auto& eight : price) eight = _mm512_set1_pd(fixed_price);
  }
};

inline __m512i group_of(Bytes bytes, int group) {
  switch (group) {
    case 0:
      return _mm512_cvtepu8_epi32(_mm512_castsi512_si128(bytes));
    case 1:
      return _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(bytes, 1));
    case 2:
      return _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(bytes, 2));
    default:
      return _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(bytes, 3));
  }
}

inline __m256i half_of(__m512i whole, int half) {
  return half == 0 ? _mm512_castsi512_si256(whole) : _mm512_extracti64x4_epi64(whole, 1);
}

inline Bytes label_types(Bytes labels, int shift) {
  return shift == 0 ? labels : _mm512_and_si512(_mm512_srli_epi16(labels, 1), _mm512_set1_epi8(0x3f));
}

// Prices of many types, stage by stage.
inline void add_prices(Lanes& lanes, const KernelInput& in, Bytes types, Bytes devices, __mmask64 mask) {
  Column type, device;
  _mm512_store_si512(&type, types);
  _mm512_store_si512(&device, devices);
  for (int i = 0; i < kLanes / 8; ++i) {
    if ((mask >> (8 * i) & 0xff) == 0) continue;
    const auto eight = [&](const Column& column) {
      return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(column.lane + 8 * i)));
    };
    const __m512d each = _mm512_i32gather_pd(eight(type), in.price, 8);
    lanes.price[i] = _mm512_add_pd(lanes.price[i], _mm512_mul_pd(each, _mm512_cvtepi32_pd(eight(device))));
  }
}

// Looks up the stages (word index of each lane) of the lanes in `mask` and adds them to the lanes; returns
// their devices.
inline Bytes add_stages(Lanes& lanes, const KernelInput& in, const __m512i* index, Bytes types,
                        __mmask64 mask) {
  __m128i devices[kGroups];
#pragma GCC unroll 4
  for (int g = 0; g < kGroups; ++g) {
    const __mmask16 here = static_cast<__mmask16>(mask >> (16 * g));
    const __m512i words = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), here, index[g], in.words, 4);
    lanes.slowest[g] = _mm512_max_epu32(lanes.slowest[g], words);
    devices[g] = _mm512_cvtepi32_epi8(words);
  }
  const Bytes all = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_set_m128i(devices[1], devices[0])),
                                       _mm256_set_m128i(devices[3], devices[2]), 1);
  if (in.types > kCountedTypes) add_prices(lanes, in, types, all, mask);
  return all;
}

// Four rounds that transpose 16 rows of bytes, in each quarter of the registers separately; the result is in
// `a`.
inline void transpose_quarters(__m512i* a, __m512i* b) {
  const auto round = [](const __m512i* from, __m512i* to) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      to[2 * i] = _mm512_unpacklo_epi8(from[i], from[i + 8]);
      to[2 * i + 1] = _mm512_unpackhi_epi8(from[i], from[i + 8]);
    }
  };
  round(a, b);
  round(b, a);
  round(a, b);
  round(b, a);
}

// 64 rows of 16 bytes, `stride` apart, into 16 columns.
inline void transpose64x16(const std::uint8_t* rows, size_t stride, Column* columns) {
  __m512i a[16], b[16];
  const auto row = [&](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows + i * stride)); };
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
    const __m512i first = _mm512_inserti32x4(_mm512_castsi128_si512(row(i)), row(i + 16), 1);
    a[i] = _mm512_inserti32x4(_mm512_inserti32x4(first, row(i + 32), 2), row(i + 48), 3);
  }
  transpose_quarters(a, b);
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) _mm512_store_si512(&columns[i], a[i]);
}

// 16 rows of 64 bytes into 64 columns, from lane `lane` of the columns on.
inline void transpose16x64(const std::uint8_t* rows, size_t stride, Column* columns, int lane) {
  __m512i a[16], b[16];
  for (int i = 0; i < 16; ++i) a[i] = _mm512_loadu_si512(rows + i * stride);
  transpose_quarters(a, b);
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
    _mm_store_si128(reinterpret_cast<__m128i*>(columns[i].lane + lane), _mm512_castsi512_si128(a[i]));
    _mm_store_si128(reinterpret_cast<__m128i*>(columns[i + 16].lane + lane),
                    _mm512_extracti32x4_epi32(a[i], 1));
    _mm_store_si128(reinterpret_cast<__m128i*>(columns[i + 32].lane + lane),
                    _mm512_extracti32x4_epi32(a[i], 2));
    _mm_store_si128(reinterpret_cast<__m128i*>(columns[i + 48].lane + lane),
                    _mm512_extracti32x4_epi32(a[i], 3));
  }
}

// Buffers of one call.
struct Buffers {
  using Columns = std::unique_ptr<Column[]>;

  size_t stride;                       // bytes of a padded row
  Columns rows;                        // (64, stride): a block of schemes, padded to whole registers
  Columns ends, labels;                // (64, stride): last layer and label of each stage
  Columns last;                        // (stages, 64): last layer of each
  Columns genes;                       // (layers, 64), or labels of the stages: (stages, 64)
  Columns devices;                     // likewise; 0 if no stage ends
  const std::int8_t* ahead = nullptr;  // schemes to prefetch; may lie past the last

  explicit Buffers(int layers) : stride((layers + 63) / 64 * 64 + 64) {
    for (Columns* columns : {&rows, &ends, &labels, &last, &genes, &devices})
      *columns = std::make_unique_for_overwrite<Column[]>(stride);
    std::memset(labels.get(), 0, stride * sizeof(Column));  // so that entries past the last are labels
  }

  static std::uint8_t* bytes(const Columns& columns) { return columns[0].lane; }
};

void transpose(const std::int8_t* schemes, size_t stride, int layers, Buffers& buffers) {
  const auto* rows = reinterpret_cast<const std::uint8_t*>(schemes);
  for (int from = 0; from < layers; from += 64)
    for (int lane = 0; lane < kLanes; lane += 16)
      transpose16x64(rows + lane * stride + from, stride, &buffers.genes[from], lane);
}

Bytes largest_gene(const Buffers& buffers, int layers) {
  Bytes largest = _mm512_setzero_si512();
  for (int l = 0; l < layers; ++l) largest = _mm512_max_epu8(largest, _mm512_load_si512(&buffers.genes[l]));
  return largest;
}

// Many stages, if there are too many types for tables of the short ones.
void score_wide(const KernelInput& in, Buffers& buffers, Lanes& result) {
  const int layers = in.layers;
  Lanes lanes = result;
  __m512i base[kGroups];
  for (auto& group : base) group = _mm512_setzero_si512();
  Bytes current = _mm512_load_si512(&buffers.genes[0]);
  for (int l = 0; l < layers; ++l) {
    const Bytes next = _mm512_load_si512(&buffers.genes[l + 1]);
    const __mmask64 ends = l + 1 < layers ? _mm512_cmpneq_epi8_mask(current, next) : ~__mmask64{0};
    Bytes devices = _mm512_setzero_si512();
    if (ends != 0) {
      const Bytes types = label_types(current, in.label_shift);
      const __m512i layer = _mm512_set1_epi32(l * in.types);
      const __m512i behind = _mm512_set1_epi32((l + 1) * layers * in.types);
      __m512i index[kGroups];
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) {
        index[g] = _mm512_add_epi32(_mm512_add_epi32(base[g], layer), group_of(types, g));
        base[g] = _mm512_mask_mov_epi32(base[g], static_cast<__mmask16>(ends >> (16 * g)), behind);
      }
      devices = add_stages(lanes, in, index, types, ends);
    }
    _mm512_store_si512(&buffers.devices[l], devices);
    current = next;
  }
  result = lanes;
}

// Looks up a long stage that ends at `layer` in one lane; returns its devices.
inline std::uint8_t add_long_stage(const KernelInput& in, const Column* genes, int layer, int lane,
                                   std::uint32_t* slowest, Lanes& lanes) {
  const std::uint8_t label = genes[layer].lane[lane];
  int first = layer - in.short_stages.longest;
  while (first > 0 && genes[first - 1].lane[lane] == label) --first;
  const int type = label >> in.label_shift;
  const std::uint32_t word = in.words[(static_cast<size_t>(first) * in.layers + layer) * in.types + type];
  const std::uint32_t devices = word & PackedTable::kMostDevices;
  slowest[lane] = std::max(slowest[lane], word);
  __m512d& price = lanes.price[lane / 8];
  if (in.types > kCountedTypes)
    price = _mm512_mask_add_pd(price, static_cast<__mmask8>(1 << lane % 8), price,
                               _mm512_set1_pd(in.price[type] * devices));
  return static_cast<std::uint8_t>(devices);
}

// Sixteen of 64 words, by the lowest six bits of each index.
inline __m512i permute64(const std::uint32_t* words, __m512i index, __mmask16 upper) {
  const __m512i low =
      _mm512_permutex2var_epi32(_mm512_loadu_si512(words), index, _mm512_loadu_si512(words + 16));
  const __m512i high =
      _mm512_permutex2var_epi32(_mm512_loadu_si512(words + 32), index, _mm512_loadu_si512(words + 48));
  return _mm512_mask_mov_epi32(low, upper, high);
}

// Adds the prices of short stages. Bytes are permuted so that the halves of two registers interleave to sixteen
// numbers in order.
inline void add_short_prices(Lanes& lanes, const std::uint32_t* prices, Bytes index, __mmask64 mask) {
  alignas(64) static constexpr auto kDeal = [] {
    std::array<std::uint8_t, 64> deal{};
    for (int i = 0; i < 64; ++i)
      deal[i] = static_cast<std::uint8_t>(i / 16 * 16 + i % 2 + i / 4 % 4 * 2 + i / 2 % 2 * 8);
    return deal;
  }();
  const Bytes dealt = _mm512_permutexvar_epi8(_mm512_load_si512(kDeal.data()), index);
  const __mmask64 upper = _mm512_test_epi8_mask(dealt, _mm512_set1_epi8(32));
#pragma GCC unroll 4
  for (int g = 0; g < kGroups; ++g) {
    const __m512i places = group_of(dealt, g);
    const __mmask16 above = static_cast<__mmask16>(upper >> (16 * g));
    const __m512i low = permute64(prices, places, above);
    const __m512i high = permute64(prices + ShortStages::kWidth, places, above);
    const auto add = [&](int eight, __m512i numbers) {
      lanes.price[eight] = _mm512_mask_add_pd(lanes.price[eight], static_cast<__mmask8>(mask >> (8 * eight)),
                                              lanes.price[eight], _mm512_castsi512_pd(numbers));
    };
    add(2 * g, _mm512_unpacklo_epi32(low, high));
    add(2 * g + 1, _mm512_unpackhi_epi32(low, high));
  }
}

// Many stages: all schemes walk the layers in step. At each layer the stages that end there are looked up in
// registers, except the few that are too long.
void score_many(const KernelInput& in, Buffers& buffers, Lanes& result) {
  const ShortStages& table = in.short_stages;
  Lanes lanes = result;
  __m512i ranks[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
  alignas(64) std::uint32_t slowest[kLanes] = {};  // of the long ones
  const Bytes width = _mm512_set1_epi8(static_cast<char>(in.types));
  const Bytes longest = _mm512_set1_epi8(static_cast<char>((table.longest - 1) * in.types));
  Bytes before = _mm512_setzero_si512();  // (layers of the stage before this one) * types, saturating
  Bytes current = _mm512_load_si512(&buffers.genes[0]);
  for (int l = 0; l < in.layers; ++l) {
    const Bytes next = _mm512_load_si512(&buffers.genes[l + 1]);
    const __mmask64 ends = l + 1 < in.layers ? _mm512_cmpneq_epi8_mask(current, next) : ~__mmask64{0};
    const __mmask64 apart = _mm512_mask_cmpgt_epu8_mask(ends, before, longest), here = ends & ~apart;
    const Bytes index = _mm512_add_epi8(before, label_types(current, in.label_shift));
    const size_t row = static_cast<size_t>(l) * ShortStages::kWidth;
    Bytes devices = _mm512_maskz_permutexvar_epi8(here, index, _mm512_loadu_si512(&table.devices[row]));
    const __m512i low = _mm512_loadu_si512(&table.ranks[row]),
                  high = _mm512_loadu_si512(&table.ranks[row + 32]);
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const __m512i places = _mm512_cvtepu8_epi16(half_of(index, half));
      ranks[half] = _mm512_mask_max_epu16(ranks[half], static_cast<__mmask32>(here >> (32 * half)), ranks[half],
                                          _mm512_permutex2var_epi16(low, places, high));
    }
    if (in.types > kCountedTypes) add_short_prices(lanes, &table.prices[2 * row], index, here);
    for (std::uint64_t left = apart; left != 0; left &= left - 1) {
      const int lane = std::countr_zero(left);
      const std::uint8_t found = add_long_stage(in, buffers.genes.get(), l, lane, slowest, lanes);
      devices = _mm512_mask_set1_epi8(devices, __mmask64{1} << lane, static_cast<char>(found));
    }
    _mm512_store_si512(&buffers.devices[l], devices);
    _mm_prefetch(buffers.ahead + l * kLanes, _MM_HINT_T1);
    before = _mm512_maskz_adds_epu8(~ends, before, width);
    current = next;
  }
  for (int g = 0; g < kGroups; ++g) {
    const __m512i rank = _mm512_cvtepu16_epi32(half_of(ranks[g / 2], g % 2));
    const __m512i words = _mm512_i32gather_epi32(rank, table.words.data(), 4);
    lanes.slowest[g] = _mm512_max_epu32(words, _mm512_load_si512(slowest + 16 * g));
  }
  result = lanes;
}

// Packs ends and labels of the stages of one scheme to the front; returns their number.
inline int pack_stages(const std::int8_t* scheme, int layers, std::uint8_t* ends, std::uint8_t* labels,
                       Bytes& largest) {
  alignas(64) static constexpr auto kCount = [] {
    std::array<std::uint8_t, 64> count{};
    for (int i = 0; i < 64; ++i) count[i] = static_cast<std::uint8_t>(i);
    return count;
  }();
  const __m512i count = _mm512_load_si512(kCount.data());
  int stages = 0;
  for (int from = 0; from < layers; from += 64) {
    const int left = layers - from;
    const __mmask64 here = left >= 64 ? ~__mmask64{0} : (__mmask64{1} << left) - 1;
    const __mmask64 pairs = left > 64 ? ~__mmask64{0} : here >> 1;
    const Bytes genes = _mm512_maskz_loadu_epi8(here, scheme + from);
    const Bytes shifted = _mm512_maskz_loadu_epi8(pairs, scheme + from + 1);
    const __mmask64 ending = _mm512_mask_cmpneq_epi8_mask(pairs, genes, shifted) | (here & ~pairs);
    largest = _mm512_max_epu8(largest, genes);
    const Bytes position = _mm512_add_epi8(count, _mm512_set1_epi8(static_cast<char>(from)));
    _mm512_storeu_si512(ends + stages, _mm512_maskz_compress_epi8(ending, position));
    _mm512_storeu_si512(labels + stages, _mm512_maskz_compress_epi8(ending, genes));
    stages += std::popcount(static_cast<std::uint64_t>(ending));
  }
  return stages;
}

void score_few(const KernelInput& in, const Column& stages, int most, Buffers& buffers, Lanes& result) {
  Lanes lanes = result;
  const Bytes counts = _mm512_load_si512(&stages);
  const __m512i row = _mm512_set1_epi32(in.layers * in.types), width = _mm512_set1_epi32(in.types);
  __m512i first[kGroups];
  for (auto& group : first) group = _mm512_setzero_si512();
  for (int slot = 0; slot < most; ++slot) {
    if (slot % 16 == 0) {
      transpose64x16(Buffers::bytes(buffers.ends) + slot, buffers.stride, &buffers.last[slot]);
      transpose64x16(Buffers::bytes(buffers.labels) + slot, buffers.stride, &buffers.genes[slot]);
    }
    const __mmask64 mask = _mm512_cmpgt_epu8_mask(counts, _mm512_set1_epi8(static_cast<char>(slot)));
    const Bytes last = _mm512_load_si512(&buffers.last[slot]);
    const Bytes types = label_types(_mm512_load_si512(&buffers.genes[slot]), in.label_shift);
    __m512i index[kGroups];
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) {
      const __m512i end = group_of(last, g);
      index[g] = _mm512_add_epi32(_mm512_mullo_epi32(first[g], row),
                                  _mm512_add_epi32(_mm512_mullo_epi32(end, width), group_of(types, g)));
      first[g] = _mm512_add_epi32(end, _mm512_set1_epi32(1));
    }
    _mm512_store_si512(&buffers.devices[slot], add_stages(lanes, in, index, types, mask));
  }
  result = lanes;
}

// Devices of 64 schemes, by type or, with many types, modulo kBuckets, which is usually enough to show that no
// limit is exceeded. Saturating.
template <int Types>
struct Counts {
  static constexpr int kCounts = Types > 0 ? Types : kBuckets;
  Bytes of[kCounts];

  Counts(const KernelInput& in, const Buffers& buffers, int rows) {
    Bytes counts[kCounts];
    for (auto& count : counts) count = _mm512_setzero_si512();
    for (int row = 0; row < rows; ++row) {
      const Bytes devices = _mm512_load_si512(&buffers.devices[row]);
      Bytes types = label_types(_mm512_load_si512(&buffers.genes[row]), in.label_shift);
      if constexpr (Types == 0) types = _mm512_and_si512(types, _mm512_set1_epi8(kBuckets - 1));
#pragma GCC unroll 16
      for (int t = 0; t < kCounts; ++t) {
        const __mmask64 here = _mm512_cmpeq_epi8_mask(types, _mm512_set1_epi8(static_cast<char>(t)));
        counts[t] = _mm512_mask_adds_epu8(counts[t], here, counts[t], devices);
      }
    }
    std::copy(counts, counts + kCounts, of);
  }
};

// Violation of eight lanes by their devices of one type.
inline void add_broken(const KernelInput& in, int type, __m512d devices, double* over) {
  const __m512d above =
      _mm512_max_pd(_mm512_sub_pd(devices, _mm512_set1_pd(in.limit[type])), _mm512_setzero_pd());
  const __m512d broken = _mm512_mul_pd(above, _mm512_set1_pd(in.limit_weight[type]));
  _mm512_store_pd(over, _mm512_add_pd(_mm512_load_pd(over), broken));
}

void price_type(const KernelInput& in, Bytes counts, Lanes& lanes, int type, double* over) {
  Column count;
  _mm512_store_si512(&count, counts);
  const Bytes limit = _mm512_set1_epi8(static_cast<char>(std::min<int>(in.limit_word[type], 255)));
  const bool broken = _mm512_cmpgt_epu8_mask(counts, limit) != 0;
#pragma GCC unroll 8
  for (int i = 0; i < kLanes / 8; ++i) {
    const __m512d devices = _mm512_cvtepi32_pd(
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(count.lane + 8 * i))));
    lanes.price[i] = _mm512_add_pd(lanes.price[i], _mm512_mul_pd(_mm512_set1_pd(in.price[type]), devices));
    if (broken) add_broken(in, type, devices, over + 8 * i);
  }
}

// Whether a type has more devices than its limit.
bool breaks_limits(const KernelInput& in, const std::int32_t* counts) {
  for (int t = 0; t < in.types; t += 16) {
    const __mmask16 here = static_cast<__mmask16>(_bzhi_u32(0xffff, std::min(16, in.types - t)));
    const __m512i limits = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(here, in.limit_word + t));
    if (_mm512_mask_cmpgt_epi32_mask(here, _mm512_load_si512(counts + t), limits) != 0) return true;
  }
  return false;
}

// Counts the devices of one lane exactly: their violation and, with few types, their price.
void recount(const KernelInput& in, const Buffers& buffers, int rows, int lane, Lanes& lanes, double* over) {
  alignas(64) std::int32_t counts[kMaxLabels] = {};
  for (int row = 0; row < rows; ++row)
    counts[buffers.genes[row].lane[lane] >> in.label_shift] += buffers.devices[row].lane[lane];
  if (in.types > kCountedTypes && !breaks_limits(in, counts)) return;
  const Problem& problem = in.scorer.problem();
  std::int64_t wide[kMaxLabels];
  std::copy(counts, counts + in.types, wide);
  over[lane] = limit_violation(problem, wide);
  if (in.types > kCountedTypes) return;
  __m512d& price = lanes.price[lane / 8];
  price = _mm512_mask_mov_pd(price, static_cast<__mmask8>(1 << lane % 8),
                             _mm512_set1_pd(hourly_price(problem, wide)));
}

// Completes the prices of all lanes and the violation of limits.
template <int Types>
void price_lanes(const KernelInput& in, const Buffers& buffers, int rows, Lanes& lanes, double* over) {
  const Counts<Types> counts(in, buffers, rows);
  std::uint64_t unsure = 0;
  for (int t = 0; t < Counts<Types>::kCounts; ++t) {
    if (Types > 0 && t < in.types) price_type(in, counts.of[t], lanes, t, over);
    const int most = Types > 0 ? 254 : in.bucket_limit[t];
    unsure |= _mm512_cmpgt_epu8_mask(counts.of[t], _mm512_set1_epi8(static_cast<char>(most)));
  }
  for (; unsure != 0; unsure &= unsure - 1) recount(in, buffers, rows, std::countr_zero(unsure), lanes, over);
}

inline __m512d excess(__m512d value, double limit) {
  const __mmask8 above = _mm512_cmp_pd_mask(value, _mm512_set1_pd(limit * (1 + kTolerance)), _CMP_GT_OQ);
  if (above == 0) return _mm512_setzero_pd();
  return _mm512_maskz_sub_pd(above, _mm512_div_pd(value, _mm512_set1_pd(limit)), _mm512_set1_pd(1));
}

// As price_plan, eight lanes at a time.
void finish(const KernelInput& in, const Lanes& lanes, const double* over, const std::int8_t* schemes,
            size_t stride, size_t count, const ScoreArrays& scores) {
  alignas(64) std::uint32_t slowest[kLanes];
  std::uint64_t unfit = 0;
  for (int g = 0; g < kGroups; ++g) {
    unfit |= static_cast<std::uint64_t>(_mm512_movepi32_mask(lanes.slowest[g])) << (16 * g);
    const __m512i rank = _mm512_srli_epi32(lanes.slowest[g], PackedTable::kDeviceBits);
    _mm512_store_si512(slowest + 16 * g, _mm512_maskz_mov_epi32(~_mm512_movepi32_mask(lanes.slowest[g]), rank));
  }
  const Problem& problem = in.scorer.problem();
  for (size_t i = 0; i < count; i += 8) {
    const __mmask8 here = count - i >= 8 ? 0xff : static_cast<__mmask8>((1u << (count - i)) - 1);
    const __m512d time =
        _mm512_i32gather_pd(_mm256_load_si256(reinterpret_cast<__m256i*>(slowest + i)), in.times, 8);
    const __m512d price = lanes.price[i / 8];
    const __m512d cost = _mm512_mul_pd(_mm512_mul_pd(_mm512_set1_pd(problem.cost_scale()), time), price);
    const __m512d devices = _mm512_add_pd(_mm512_load_pd(over + i), excess(price, problem.max_price));
    const __m512d violation = _mm512_add_pd(_mm512_add_pd(devices, excess(time, problem.goal_time())),
                                            excess(cost, problem.max_cost));
    _mm512_mask_storeu_pd(scores.cost + i, here, cost);
    _mm512_mask_storeu_pd(scores.time + i, here, time);
    _mm512_mask_storeu_pd(scores.violation + i, here, violation);
    if (scores.price) _mm512_mask_storeu_pd(scores.price + i, here, price);
  }
  for (; unfit != 0; unfit &= unfit - 1) {
    const size_t i = std::countr_zero(unfit);
    if (i >= count) return;
    scores.set(i, in.skip_unfit ? Score() : in.scorer.score_by_table(schemes + i * stride));
  }
}

bool in_range(Bytes largest, int most) {
  return _mm512_cmpgt_epu8_mask(largest, _mm512_set1_epi8(static_cast<char>(most))) == 0;
}

// Scores 64 schemes, `stride` bytes apart, of which the first `count` are requested. Rows may be read up to the
// next multiple of 64 bytes. Returns false if a gene is not a label.
template <int Types>
bool score_block(const KernelInput& in, const std::int8_t* schemes, size_t stride, size_t count,
                 Buffers& buffers, const ScoreArrays& scores) {
  Column stages;
  Bytes largest = _mm512_setzero_si512();
  int most = 0, sum = 0;
  bool few = in.layers <= kFewLayers;
  for (int i = 0; i < kLanes && few; ++i) {
    for (int l = 0; l < in.layers; l += 64) _mm_prefetch(buffers.ahead + i * in.layers + l, _MM_HINT_T1);
    const int n =
        pack_stages(schemes + i * stride, in.layers, Buffers::bytes(buffers.ends) + i * buffers.stride,
                    Buffers::bytes(buffers.labels) + i * buffers.stride, largest);
    stages.lane[i] = static_cast<std::uint8_t>(std::min(n, 255));
    most = std::max(most, n);
    sum += n;
    if (i % 8 == 3) few = sum <= kFewStages * (i + 1);
    few = few && n <= 255;
  }
  if (!few) {
    transpose(schemes, stride, in.layers, buffers);
    largest = largest_gene(buffers, in.layers);
  }
  if (!in_range(largest, in.labels - 1)) return false;
  Lanes lanes(in.scorer.problem().fixed_price);
  if (few)
    score_few(in, stages, most, buffers, lanes);
  else if (in.short_stages.longest > 0)
    score_many(in, buffers, lanes);
  else
    score_wide(in, buffers, lanes);
  alignas(64) double over[kLanes] = {};
  price_lanes<Types>(in, buffers, few ? most : in.layers, lanes, over);
  finish(in, lanes, over, schemes, stride, count, scores);
  return true;
}

template <int Types>
bool score_all(const KernelInput& in, const std::int8_t* schemes, size_t count, ScoreArrays scores) {
  Buffers buffers(in.layers);
  const size_t layers = in.layers, size = count * layers;
  for (size_t from = 0; from < count; from += kLanes) {
    const size_t block = std::min<size_t>(kLanes, count - from);
    const std::int8_t* rows = schemes + from * layers;
    size_t stride = layers;
    buffers.ahead = rows + 2 * kLanes * layers;  // prefetched line by line during other work
    // Whole registers are read from rows in place only if they stay within the array.
    if (block < kLanes || (from + kLanes - 1) * layers + buffers.stride - 64 > size) {
      for (size_t i = 0; i < kLanes; ++i)
        std::memcpy(Buffers::bytes(buffers.rows) + i * buffers.stride, rows + std::min(i, block - 1) * layers,
                    layers);
      rows = reinterpret_cast<const std::int8_t*>(Buffers::bytes(buffers.rows));
      stride = buffers.stride;
    }
    if (!score_block<Types>(in, rows, stride, block, buffers, scores.from(from))) return false;
  }
  return true;
}

}  // namespace

bool score_schemes(const KernelInput& in, const std::int8_t* schemes, size_t count, const ScoreArrays& scores) {
  if (count < kLanes / 4) return avx2::score_schemes(in, schemes, count, scores);
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

}  // namespace stageplan::avx512

STAGEPLAN_END_TARGET

#endif
