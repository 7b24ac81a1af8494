// Makes children of a population: selection, crossover and mutation.
#pragma once

#include <cstddef>
#include <cstdint>

#include "rng.h"

namespace stageplan {

struct Parents {
  const std::int8_t* genes;  // (count, layers)
  const double* fitness;     // (count,): the less the better
  size_t count;
  int layers, labels;
};

// Makes the children `from` to from + count - 1 of a generation. What a child is like depends on its number:
// four in five have two parents; one in two of these has one mutation, one in four has two, and so has one
// with a single parent. Shares are dealt in turn, not drawn: the processor foresees the turns.
using Breed = void (*)(const Parents& parents, const Rng& rng, size_t from, size_t count,
                       std::int8_t* children);

// The random numbers of one child, and what they and its number decide before its genes are looked at.
class Birth {
 public:
  Birth(const Parents& parents, const Rng& rng, size_t turn)
      : turn_(turn),
        crossed_(parents.layers > 1 && turn % 5 != 0),
        mutations_(crossed_ ? (turn % 4 + 1) / 2 : 2) {
    for (int i = 0; i < 4; ++i) draws_[i] = rng.at(4 * turn + i);
  }

  size_t first(const Parents& parents) const { return tournament(parents, draws_[0]); }
  size_t second(const Parents& parents) const { return tournament(parents, draws_[1]); }

  // Whether the second parent gives its genes from layer `cut` on.
  bool crossed() const { return crossed_; }
  int cut(int layers) const { return 1 + below(draws_[2], 48, layers - 1); }

  int mutations() const { return static_cast<int>(mutations_); }

  // Every other mutation gives the edge of a stage to its neighbour. The others give a label to a layer or, one
  // in two, to a run of layers.
  bool shifts(int m) const { return kind(m) % 2 == 1; }

  int run_first(int m, int layers) const { return below(draws_[2 + m], 0, layers); }
  int run_length(int m, int room) const { return kind(m) % 4 == 0 ? 1 : 1 + below(draws_[2 + m], 16, room); }
  int run_label(int m, int labels) const { return below(draws_[2 + m], 32, labels); }

  // The edge is the next one at or behind this layer, where stages end in a circle.
  int shift_from(int m, int layers) const { return 1 + below(draws_[2 + m], 0, layers - 1); }
  bool shifts_back(int m) const { return draws_[2 + m] >> 47 & 1; }
  int shift_length(int m) const {  // 1 to 4, mostly 1
    return 1 + static_cast<int>((draws_[2 + m] >> 32 & 3) * (draws_[2 + m] >> 34 & 3) / 3);
  }

 private:
  size_t kind(int m) const { return turn_ / 4 + static_cast<size_t>(m); }

  // Uniform in 0..bound-1, of sixteen bits.
  static int below(std::uint64_t draw, int shift, int bound) {
    return static_cast<int>((draw >> shift & 0xffff) * static_cast<std::uint64_t>(bound) >> 16);
  }

  static size_t tournament(const Parents& parents, std::uint64_t draw) {
    const size_t a = (draw >> 32) * parents.count >> 32, b = (draw & 0xffffffff) * parents.count >> 32;
    return parents.fitness[b] < parents.fitness[a] ? b : a;
  }

  std::uint64_t draws_[4];
  size_t turn_;
  bool crossed_;
  size_t mutations_;
};

}  // namespace stageplan
