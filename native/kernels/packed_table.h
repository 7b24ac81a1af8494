// The stage table in the form that kernels read.
#pragma once

#include <cstdint>
#include <vector>

#include "model/stage_table.h"

namespace stageplan {

// With at most this many types the price is summed by type, as in plans, otherwise by stage: this sum may round
// differently, so that at the edge of a limit's tolerance a scheme and its plan may be judged differently.
inline constexpr int kCountedTypes = 16;

// One word per stage. The high bits rank the stage's time among all stage times, so that the slowest
// stage is the maximum of the words; the low bits are its devices. The highest bit marks a stage that
// does not fit (too many devices, a violation of its own): schemes with one are scored from the stage
// table itself.
struct PackedTable {
  static constexpr int kDeviceBits = 8;
  static constexpr std::uint32_t kMostDevices = (1u << kDeviceBits) - 1;
  static constexpr std::uint32_t kUnfit = 1u << 31;

  explicit PackedTable(const StageTable& table, const Problem& problem);

  std::vector<std::uint32_t> words;  // (first, last, type)
  std::vector<double> times;         // by rank
  double least_unfit = kInfinity;    // least objective of schemes with a stage that only has too many devices
};

// The short stages again, by their last layer, in tables that fit registers: the look-ups of 64 schemes at a
// layer are one permutation. A stage of `n` layers on type `t` is at (n - 1) * types + t.
struct ShortStages {
  static constexpr int kWidth = 64;

  ShortStages(const PackedTable& packed, const Problem& problem);

  int longest = 0;                       // maximum layers of these stages; 0 if none fits
  std::vector<std::uint16_t> ranks;      // (layers, kWidth): rank of its time among these, from 1 on
  std::vector<std::uint8_t> rank_bytes;  // (layers, 2, kWidth): the same, lower and upper byte
  std::vector<std::uint8_t> devices;     // (layers, kWidth)
  std::vector<std::uint32_t> prices;     // (layers, 2, kWidth): $/hour, lower and upper half; many types only
  std::vector<std::uint32_t> words;      // by rank; that of rank 0 is less than all others
};

}  // namespace stageplan
