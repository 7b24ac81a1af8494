// Counter-based random streams: the numbers of a stream depend only on its key, not on other streams.
#pragma once

#include <cstdint>

namespace stageplan {

class Rng {
 public:
  Rng(std::uint64_t seed, std::uint64_t island, std::uint64_t generation)
      : key_(mix(mix(mix(seed) + island) + generation)) {}

  // SplitMix64 (Steele, Lea, Flood 2014): a counter in steps of the golden ratio, scrambled.
  std::uint64_t next() { return mix(key_ += kStep); }

  // The number that call `place` (from 0) of next() would return from here.
  std::uint64_t at(std::uint64_t place) const { return mix(key_ + (place + 1) * kStep); }

  // Uniform in 0..bound-1; the bias of the multiplication is below bound / 2^32.
  int below(int bound) { return static_cast<int>(((next() >> 32) * static_cast<std::uint64_t>(bound)) >> 32); }

  // Uniform in [0, 1).
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

 private:
  static constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15u;

  static std::uint64_t mix(std::uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }
  std::uint64_t key_;
};

}  // namespace stageplan
