// Makes children of a population: selection, crossover and mutation.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/rng.h"

namespace stageplan {

struct Parents {
  const std::int8_t* genes;  // (count, layers)
  const double* fitness;     // (count,): lower is better
  size_t count;
  int layers, labels;
};

// Makes the children `from` to from + count - 1 of a generation.
using Breed = void (*)(const Parents& parents, const Rng& rng, size_t from, size_t count,
                       std::int8_t* children);

// Decisions about some children that do not depend on their genes: made from a child's number and four random
// numbers. Rates follow cyclically from the number, not from draws, and all draws are computed for all children
// together, so that branches are predictable.
//
//   crossover of two parents, one cut   4 of 5 children; the fifth copies one parent
//   mutations of a crossed child        none 1/4, one 1/2, two 1/4
//   mutations of a copied child         two
//   kind of a mutation                  in turn: moves the edge of a stage, or relabels a run of layers
//   layers that an edge is moved by     one 10/16, two 3/16, three 2/16, four 1/16; either direction 1/2
//   length of a relabelled run          in turn one layer, or uniform up to the last layer
struct Births {
  static constexpr size_t kBlock = 32;
  static constexpr size_t kCopyEvery = 5;         // children
  static constexpr size_t kKindTurns = 4;         // children between the two kinds of first mutation
  static constexpr size_t kSingleLayerEvery = 4;  // such turns: every second one that relabels

  struct Mutation {
    std::uint32_t first[kBlock], length[kBlock], label[kBlock];     // a run of layers
    std::uint32_t from[kBlock], edge_length[kBlock], back[kBlock];  // the next edge at or after a layer
  };

  std::uint32_t first[kBlock], second[kBlock];  // parents, winners of tournaments of two
  std::uint32_t cut[kBlock];                    // genes from this layer on are the second parent's
  Mutation mutation[2];

  Births(const Parents& parents, const Rng& rng, size_t turn) {
    std::uint64_t draw[4][kBlock];
    for (size_t j = 0; j < 4; ++j)
      for (size_t i = 0; i < kBlock; ++i) draw[j][i] = rng.at(4 * (turn + i) + j);
    tournament(parents, draw[0], first);
    tournament(parents, draw[1], second);
    const auto layers = static_cast<std::uint32_t>(parents.layers);
    for (size_t i = 0; i < kBlock; ++i) {
      const std::uint32_t drawn = 1 + ((draw[2][i] >> 48) * (layers - 1) >> 16);
      cut[i] = crossed(turn + i, parents) ? drawn : layers;
    }
    decide(parents, draw[2], turn, mutation[0]);
    decide(parents, draw[3], turn + 4, mutation[1]);
  }

  static bool crossed(size_t turn, const Parents& parents) {
    return turn % kCopyEvery != 0 && parents.layers > 1;
  }
  static size_t mutations(size_t turn, const Parents& parents) {
    return crossed(turn, parents) ? (turn % 4 + 1) / 2 : 2;  // 0, 1, 1, 2 in turn
  }
  static bool shifts(size_t turn, size_t m) { return (turn / kKindTurns + m) % 2 == 1; }

 private:
  static void tournament(const Parents& parents, const std::uint64_t* draw, std::uint32_t* winner) {
    std::uint32_t place[2][kBlock];
    double fitness[2][kBlock];
    for (size_t i = 0; i < kBlock; ++i) {
      place[0][i] = static_cast<std::uint32_t>((draw[i] >> 32) * parents.count >> 32);
      place[1][i] = static_cast<std::uint32_t>((draw[i] & 0xffffffff) * parents.count >> 32);
    }
    for (size_t i = 0; i < kBlock; ++i)
      for (size_t j = 0; j < 2; ++j) fitness[j][i] = parents.fitness[place[j][i]];
    for (size_t i = 0; i < kBlock; ++i) winner[i] = fitness[1][i] < fitness[0][i] ? place[1][i] : place[0][i];
  }

  // Sixteen bits of a draw give a number below a bound.
  static void decide(const Parents& parents, const std::uint64_t* draw, size_t turn, Mutation& to) {
    const auto layers = static_cast<std::uint32_t>(parents.layers);
    for (size_t i = 0; i < kBlock; ++i) {
      const auto low = static_cast<std::uint32_t>(draw[i]), high = static_cast<std::uint32_t>(draw[i] >> 32);
      to.first[i] = (low & 0xffff) * layers >> 16;
      const std::uint32_t length = 1 + ((low >> 16) * (layers - to.first[i]) >> 16);
      to.length[i] = (turn + i) / kKindTurns % kSingleLayerEvery == 0 ? 1 : length;
      to.label[i] = (high & 0xffff) * static_cast<std::uint32_t>(parents.labels) >> 16;
      to.from[i] = 1 + ((low & 0xffff) * (layers - 1) >> 16);
      to.edge_length[i] = 1 + (high & 3) * (high >> 2 & 3) / 3;  // from two numbers from 0 to 3
      to.back[i] = high >> 15 & 1;
    }
  }
};

}  // namespace stageplan
