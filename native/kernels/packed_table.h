// The stage table as kernels read it.
#pragma once

#include <cstdint>
#include <vector>

#include "model/stage_table.h"

namespace stageplan {

// Up to so many types the price is added up by type, as in plans, with more of them by stage: this sum may
// round otherwise, so that at the very edge of a limit's tolerance a scheme and its plan may be judged apart.
inline constexpr int kCountedTypes = 16;

// One word a stage. The high bits rank the stage's time among all
// stage times, so that the slowest stage is a maximum of words; the low bits are its devices. A stage that
// does not fit (too many devices, a violation of its own) has the highest bit set: a scheme with one is
// scored from the stage table itself.
struct PackedTable {
  static constexpr int kDeviceBits = 8;
  static constexpr std::uint32_t kMostDevices = (1u << kDeviceBits) - 1;
  static constexpr std::uint32_t kUnfit = 1u << 31;

  explicit PackedTable(const StageTable& table, const Problem& problem);

  std::vector<std::uint32_t> words;  // (first, last, type)
  std::vector<double> times;         // by rank
  double least_unfit = kInfinity;    // least objective of a scheme with a stage that is only too many devices
};

// The short stages once more, by the layer that they end at, in tables that fit registers: what 64 schemes
// look up at a layer is a permutation of one. A stage of `n` layers on type `t` stands at (n - 1) * types + t.
struct ShortStages {
  static constexpr int kWidth = 64;

  ShortStages(const PackedTable& packed, const Problem& problem);

  int longest = 0;                       // layers of a stage up to which it is here; 0 where nothing fits
  std::vector<std::uint16_t> ranks;      // (layers, kWidth): of its time among those here, from 1 on
  std::vector<std::uint8_t> rank_bytes;  // (layers, 2, kWidth): the same, lower and upper byte
  std::vector<std::uint8_t> devices;     // (layers, kWidth)
  std::vector<std::uint32_t>
      prices;                        // (layers, 2, kWidth): their $/hour, lower and upper half; many types only
  std::vector<std::uint32_t> words;  // by rank; that of rank 0 is below all others
};

}  // namespace stageplan
