// Kernels for AVX-512 with VBMI2: 64 schemes at a time, one a lane.
//
// Few stages (an evolved population): the ends of each scheme's stages are found by comparing the row with
// itself shifted by one gene and packed to the front by a compressing store; the s-th stages of all 64
// schemes are then looked up together. Many stages (random schemes): genes are transposed and all schemes
// walk the layers in step. Either way a stage costs one gather lane, and the results are the same.
#include "kernel_sets.h"

#if STAGEPLAN_X86

// GCC 12 calls the undefined operand of its own intrinsics uninitialized.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi2,avx512vbmi,avx2,bmi,bmi2,lzcnt,popcnt")

namespace stageplan::avx512 {
namespace {

constexpr int kLanes = 64;
constexpr int kGroups = kLanes / 16;  // lanes of 32 bits in a register: 16
constexpr int kFewLayers = 256;       // layers up to which a stage's end fits a byte
constexpr int kFewStages = 24;        // mean stages a scheme up to which "few stages" is faster

using Bytes = __m512i;

// Genes, ends or types by column: 64 lanes each.
struct alignas(64) Column {
  std::uint8_t lane[kLanes];
};

// How devices are counted. A number above 0: that many types, each in a register. kByBucket: many types,
// counted modulo kBuckets, which is enough to know that no limit is broken. kByType: many types, in memory.
constexpr int kByBucket = 0, kByType = -1;

// State of 64 schemes on their way through their stages.
template <int Types>
struct Lanes {
  static constexpr int kCounts = Types > 0 ? Types : Types == kByBucket ? kBuckets : 1;
  __m512i slowest[kGroups];
  Bytes counts[kCounts];             // saturating
  __m512d price[kLanes / 8];         // with many types, added up stage by stage
  std::uint16_t (*by_type)[kLanes];  // kByType only

  explicit Lanes(const KernelInput& in, std::vector<std::uint16_t>& memory) {
    for (auto& group : slowest) group = _mm512_setzero_si512();
    for (auto& count : counts) count = _mm512_setzero_si512();
    for (auto& eight : price) eight = _mm512_set1_pd(in.scorer.problem().fixed_price);
    if constexpr (Types == kByType) {
      memory.assign(static_cast<size_t>(in.types) * kLanes, 0);
      by_type = reinterpret_cast<std::uint16_t(*)[kLanes]>(memory.data());
    }
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

inline Bytes label_types(Bytes labels, int shift) {
  return shift == 0 ? labels : _mm512_and_si512(_mm512_srli_epi16(labels, 1), _mm512_set1_epi8(0x3f));
}

template <int Types>
inline void count_in_registers(Lanes<Types>& lanes, Bytes types, Bytes devices) {
  const Bytes counted = Types > 0 ? types : _mm512_and_si512(types, _mm512_set1_epi8(kBuckets - 1));
#pragma GCC unroll 16
  for (int t = 0; t < Lanes<Types>::kCounts; ++t) {
    const __mmask64 here = _mm512_cmpeq_epi8_mask(counted, _mm512_set1_epi8(static_cast<char>(t)));
    lanes.counts[t] = _mm512_mask_adds_epu8(lanes.counts[t], here, lanes.counts[t], devices);
  }
}

// Prices of many types, stage by stage.
template <int Types>
inline void add_prices(Lanes<Types>& lanes, const KernelInput& in, Bytes types, Bytes devices, __mmask64 mask) {
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

template <int Types>
inline void count_devices(Lanes<Types>& lanes, Bytes types, Bytes devices, __mmask64 mask) {
  if constexpr (Types != kByType) {
    count_in_registers<Types>(lanes, types, devices);
  } else {
    Column type, device;
    _mm512_store_si512(&type, types);
    _mm512_store_si512(&device, devices);
    for (std::uint64_t left = mask; left != 0; left &= left - 1) {
      const int i = std::countr_zero(left);
      lanes.by_type[type.lane[i]][i] += device.lane[i];
    }
  }
}

// Looks up the stages (word index of each lane) of the lanes in `mask` and adds them to the lanes.
template <int Types>
inline void add_stages(Lanes<Types>& lanes, const KernelInput& in, const __m512i* index, Bytes types,
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
  count_devices<Types>(lanes, types, all, mask);
  if constexpr (Types <= 0) add_prices<Types>(lanes, in, types, all, mask);
}

// Transposes 16 rows of bytes, `stride` apart, into 16 columns; lanes of the columns from `lane` on.
inline void transpose16(const std::uint8_t* rows, size_t stride, Column* columns, int lane) {
  __m128i a[16], b[16];
  for (int i = 0; i < 16; ++i) a[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows + i * stride));
  const auto round = [](const __m128i* from, __m128i* to) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      to[2 * i] = _mm_unpacklo_epi8(from[i], from[i + 8]);
      to[2 * i + 1] = _mm_unpackhi_epi8(from[i], from[i + 8]);
    }
  };
  round(a, b);
  round(b, a);
  round(a, b);
  round(b, a);
  for (int i = 0; i < 16; ++i) _mm_store_si128(reinterpret_cast<__m128i*>(columns[i].lane + lane), a[i]);
}

// The same for 64 columns at a time.
inline void transpose16x64(const std::uint8_t* rows, size_t stride, Column* columns, int lane) {
  __m512i a[16], b[16];
  for (int i = 0; i < 16; ++i) a[i] = _mm512_loadu_si512(rows + i * stride);
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
  size_t stride;                           // bytes of a padded row
  std::vector<std::int8_t> rows;           // a block of schemes, padded to whole registers
  std::vector<Column> genes;               // (layers, 64)
  std::vector<std::uint8_t> ends, labels;  // (64, stride): last layer and label of each stage
  std::vector<std::uint16_t> by_type;      // (types, 64): devices

  explicit Buffers(int layers)
      : stride((layers + 63) / 64 * 64 + 64),
        rows(stride * kLanes),
        genes(stride),
        ends(rows.size()),
        labels(rows.size()) {}
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

// Many stages, where the types are too many for tables of the short ones.
template <int Types>
void score_wide(const KernelInput& in, const Buffers& buffers, Lanes<Types>& result) {
  const int layers = in.layers;
  Lanes<Types> lanes = result;
  __m512i base[kGroups];
  for (auto& group : base) group = _mm512_setzero_si512();
  Bytes current = _mm512_load_si512(&buffers.genes[0]);
  for (int l = 0; l < layers; ++l) {
    const Bytes next = _mm512_load_si512(&buffers.genes[l + 1]);
    const __mmask64 ends = l + 1 < layers ? _mm512_cmpneq_epi8_mask(current, next) : ~__mmask64{0};
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
      add_stages<Types>(lanes, in, index, types, ends);
    }
    current = next;
  }
  result = lanes;
}

// What the lanes of a layer look up beside the tables of the short stages.
struct LongStages {
  Column devices;
  alignas(64) double price[kLanes];

  // Looks up the stages that end at `layer` in the lanes of `mask`, none of which is short.
  LongStages(const KernelInput& in, const Column* genes, int layer, __mmask64 mask, std::uint32_t* slowest) {
    std::memset(this, 0, sizeof *this);
    for (std::uint64_t left = mask; left != 0; left &= left - 1) {
      const int i = std::countr_zero(left);
      const std::uint8_t label = genes[layer].lane[i];
      int first = layer - in.short_stages.longest;
      while (first > 0 && genes[first - 1].lane[i] == label) --first;
      const int type = label >> in.label_shift;
      const std::uint32_t word = in.words[(static_cast<size_t>(first) * in.layers + layer) * in.types + type];
      slowest[i] = std::max(slowest[i], word);
      devices.lane[i] = static_cast<std::uint8_t>(word & PackedTable::kMostDevices);
      price[i] = in.price[type] * devices.lane[i];
    }
  }
};

// Sixteen of 64 words, by the lowest six bits of each index.
inline __m512i permute64(const std::uint32_t* words, __m512i index, __mmask16 upper) {
  const __m512i low =
      _mm512_permutex2var_epi32(_mm512_loadu_si512(words), index, _mm512_loadu_si512(words + 16));
  const __m512i high =
      _mm512_permutex2var_epi32(_mm512_loadu_si512(words + 32), index, _mm512_loadu_si512(words + 48));
  return _mm512_mask_mov_epi32(low, upper, high);
}

// Adds the prices of short stages. Bytes are dealt so that the halves of two registers interleave to
// sixteen numbers in order.
template <int Types>
inline void add_short_prices(Lanes<Types>& lanes, const std::uint32_t* prices, Bytes index, __mmask64 mask) {
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
// registers, but for the few that are too long for that.
template <int Types>
void score_many(const KernelInput& in, const Buffers& buffers, Lanes<Types>& result) {
  const ShortStages& table = in.short_stages;
  Lanes<Types> lanes = result;
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
    const Bytes types = label_types(current, in.label_shift), index = _mm512_add_epi8(before, types);
    const size_t row = static_cast<size_t>(l) * ShortStages::kWidth;
    Bytes devices = _mm512_maskz_permutexvar_epi8(here, index, _mm512_loadu_si512(&table.devices[row]));
    const __m512i low = _mm512_loadu_si512(&table.ranks[row]),
                  high = _mm512_loadu_si512(&table.ranks[row + 32]);
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const __m512i places =
          _mm512_cvtepu8_epi16(half == 0 ? _mm512_castsi512_si256(index) : _mm512_extracti64x4_epi64(index, 1));
      ranks[half] = _mm512_mask_max_epu16(ranks[half], static_cast<__mmask32>(here >> (32 * half)), ranks[half],
                                          _mm512_permutex2var_epi16(low, places, high));
    }
    if constexpr (Types <= 0) add_short_prices<Types>(lanes, &table.prices[2 * row], index, here);
    if (apart != 0) {
      const LongStages others(in, buffers.genes.data(), l, apart, slowest);
      devices = _mm512_or_si512(devices, _mm512_load_si512(&others.devices));
      if constexpr (Types <= 0)
        for (int i = 0; i < kLanes / 8; ++i)
          lanes.price[i] = _mm512_add_pd(lanes.price[i], _mm512_load_pd(others.price + 8 * i));
    }
    count_devices<Types>(lanes, types, devices, ends);
    before = _mm512_maskz_adds_epu8(~ends, before, width);
    current = next;
  }
  for (int g = 0; g < kGroups; ++g) {
    const __m512i of = ranks[g / 2];
    const __m512i rank =
        _mm512_cvtepu16_epi32(g % 2 == 0 ? _mm512_castsi512_si256(of) : _mm512_extracti64x4_epi64(of, 1));
    const __m512i words = _mm512_i32gather_epi32(rank, table.words.data(), 4);
    lanes.slowest[g] = _mm512_max_epu32(words, _mm512_load_si512(slowest + 16 * g));
  }
  result = lanes;
}

// Packs ends and labels of the stages of one scheme to the front; returns how many there are.
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

template <int Types>
void score_few(const KernelInput& in, const Column& stages, int most, const Buffers& buffers,
               Lanes<Types>& result) {
  Lanes<Types> lanes = result;
  const Bytes counts = _mm512_load_si512(&stages);
  const __m512i row = _mm512_set1_epi32(in.layers * in.types), width = _mm512_set1_epi32(in.types);
  __m512i first[kGroups];
  for (auto& group : first) group = _mm512_setzero_si512();
  Column ends[16], labels[16];
  for (int slot = 0; slot < most; ++slot) {
    if (slot % 16 == 0)
      for (int lane = 0; lane < kLanes; lane += 16) {
        transpose16(&buffers.ends[lane * buffers.stride + slot], buffers.stride, ends, lane);
        transpose16(&buffers.labels[lane * buffers.stride + slot], buffers.stride, labels, lane);
      }
    const __mmask64 mask = _mm512_cmpgt_epu8_mask(counts, _mm512_set1_epi8(static_cast<char>(slot)));
    const Bytes last = _mm512_load_si512(&ends[slot % 16]);
    const Bytes types = label_types(_mm512_load_si512(&labels[slot % 16]), in.label_shift);
    __m512i index[kGroups];
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) {
      const __m512i end = group_of(last, g);
      index[g] = _mm512_add_epi32(_mm512_mullo_epi32(first[g], row),
                                  _mm512_add_epi32(_mm512_mullo_epi32(end, width), group_of(types, g)));
      first[g] = _mm512_add_epi32(end, _mm512_set1_epi32(1));
    }
    add_stages<Types>(lanes, in, index, types, mask);
  }
  result = lanes;
}

// Violation of eight lanes by their devices of one type.
inline void add_broken(const KernelInput& in, int type, __m512d devices, double* over) {
  const __m512d above =
      _mm512_max_pd(_mm512_sub_pd(devices, _mm512_set1_pd(in.limit[type])), _mm512_setzero_pd());
  const __m512d broken = _mm512_mul_pd(above, _mm512_set1_pd(in.limit_weight[type]));
  _mm512_store_pd(over, _mm512_add_pd(_mm512_load_pd(over), broken));
}

template <int Types>
void price_type(const KernelInput& in, Lanes<Types>& lanes, int type, double* over) {
  Column count;
  _mm512_store_si512(&count, lanes.counts[type]);
  const Bytes limit = _mm512_set1_epi8(static_cast<char>(std::min<int>(in.limit_word[type], 255)));
  const bool broken = _mm512_cmpgt_epu8_mask(lanes.counts[type], limit) != 0;
#pragma GCC unroll 8
  for (int i = 0; i < kLanes / 8; ++i) {
    const __m512d devices = _mm512_cvtepi32_pd(
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(count.lane + 8 * i))));
    lanes.price[i] = _mm512_add_pd(lanes.price[i], _mm512_mul_pd(_mm512_set1_pd(in.price[type]), devices));
    if (broken) add_broken(in, type, devices, over + 8 * i);
  }
}

void break_limits(const KernelInput& in, const Lanes<kByType>& lanes, double* over) {
  for (int t = 0; t < in.types; ++t) {
    const __m512i limit = _mm512_set1_epi16(static_cast<short>(in.limit_word[t]));
    const std::uint16_t* counts = lanes.by_type[t];
    if ((_mm512_cmpgt_epu16_mask(_mm512_loadu_si512(counts), limit) |
         _mm512_cmpgt_epu16_mask(_mm512_loadu_si512(counts + 32), limit)) == 0)
      continue;
    for (int i = 0; i < kLanes; i += 8) {
      const __m128i eight = _mm_loadu_si128(reinterpret_cast<const __m128i*>(counts + i));
      add_broken(in, t, _mm512_cvtepi32_pd(_mm256_cvtepu16_epi32(eight)), over + i);
    }
  }
}

// Completes the prices of all lanes and the violation of limits; returns the lanes that the counts do not
// tell everything about.
template <int Types>
std::uint64_t price_lanes(const KernelInput& in, Lanes<Types>& lanes, double* over) {
  if constexpr (Types == kByType) {
    break_limits(in, lanes, over);
    return 0;
  }
  std::uint64_t unsure = 0;
  for (int t = 0; t < Lanes<Types>::kCounts; ++t) {
    if (Types > 0 && t < in.types) price_type(in, lanes, t, over);
    const int most = Types > 0 ? 254 : in.bucket_limit[t];
    unsure |= _mm512_cmpgt_epu8_mask(lanes.counts[t], _mm512_set1_epi8(static_cast<char>(most)));
  }
  return unsure;
}

inline __m512d excess(__m512d value, double limit) {
  const __mmask8 above = _mm512_cmp_pd_mask(value, _mm512_set1_pd(limit * (1 + kTolerance)), _CMP_GT_OQ);
  if (above == 0) return _mm512_setzero_pd();
  return _mm512_maskz_sub_pd(above, _mm512_div_pd(value, _mm512_set1_pd(limit)), _mm512_set1_pd(1));
}

// As price_plan, eight lanes at a time. Returns how many schemes had to be scored one by one.
template <int Types>
int finish(const KernelInput& in, Lanes<Types>& lanes, const std::int8_t* schemes, size_t stride, size_t count,
           const ScoreArrays& scores) {
  alignas(64) double over[kLanes] = {};
  alignas(64) std::uint32_t slowest[kLanes];
  std::uint64_t unfit = price_lanes<Types>(in, lanes, over);
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
  }
  for (size_t i = 0; i < count; ++i)
    if (unfit >> i & 1) avx2::score_schemes(in, schemes + i * stride, 1, scores.from(i));
  return std::popcount(unfit);
}

bool in_range(Bytes largest, int most) {
  return _mm512_cmpgt_epu8_mask(largest, _mm512_set1_epi8(static_cast<char>(most))) == 0;
}

constexpr int kBadGene = -1;

// Scores 64 schemes, `stride` bytes apart, of which the first `count` are asked for. Rows may be read up to
// the next multiple of 64 bytes. Returns how many had to be scored one by one, or kBadGene.
template <int Types>
int score_block(const KernelInput& in, const std::int8_t* schemes, size_t stride, size_t count,
                Buffers& buffers, const ScoreArrays& scores) {
  Column stages;
  Bytes largest = _mm512_setzero_si512();
  int most = 0, sum = 0;
  bool few = in.layers <= kFewLayers;
  for (int i = 0; i < kLanes && few; ++i) {
    const int n = pack_stages(schemes + i * stride, in.layers, &buffers.ends[i * buffers.stride],
                              &buffers.labels[i * buffers.stride], largest);
    stages.lane[i] = static_cast<std::uint8_t>(std::min(n, 255));
    most = std::max(most, n);
    sum += n;
    if (i % 8 == 3) few = sum <= kFewStages * (i + 1);
    few = few && n <= 255;
  }
  Lanes<Types> lanes(in, buffers.by_type);
  if (few) {
    if (!in_range(largest, in.labels - 1)) return kBadGene;
    score_few<Types>(in, stages, most, buffers, lanes);
  } else {
    transpose(schemes, stride, in.layers, buffers);
    if (!in_range(largest_gene(buffers, in.layers), in.labels - 1)) return kBadGene;
    if (in.short_stages.longest > 0)
      score_many<Types>(in, buffers, lanes);
    else
      score_wide<Types>(in, buffers, lanes);
  }
  return finish<Types>(in, lanes, schemes, stride, count, scores);
}

template <int Types>
bool score_all(const KernelInput& in, const std::int8_t* schemes, size_t count, ScoreArrays scores) {
  Buffers buffers(in.layers);
  const size_t layers = in.layers, size = count * layers;
  bool by_type = false;
  for (size_t from = 0; from < count; from += kLanes) {
    const size_t block = std::min<size_t>(kLanes, count - from);
    const std::int8_t* rows = schemes + from * layers;
    size_t stride = layers;
    // Whole registers are read from rows in place only where they stay within the array.
    if (block < kLanes || (from + kLanes - 1) * layers + buffers.stride - 64 > size) {
      for (size_t i = 0; i < kLanes; ++i)
        std::memcpy(&buffers.rows[i * buffers.stride], rows + std::min(i, block - 1) * layers, layers);
      rows = buffers.rows.data();
      stride = buffers.stride;
    }
    const auto score = by_type ? score_block<kByType> : score_block<Types>;
    const int slow = score(in, rows, stride, block, buffers, scores.from(from));
    if (slow == kBadGene) return false;
    by_type = by_type || (Types == kByBucket && slow > kLanes / 8 && in.layers <= kFewLayers);
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
                                       : score_all<kByBucket>(in, schemes, count, scores);
  }
}

}  // namespace stageplan::avx512

#pragma GCC pop_options

#endif
