// What all searches share, and the simple ones: random, enumerate, greedy.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels.h"
#include "rng.h"

namespace stageplan {

using Genes = std::vector<std::int8_t>;

// A search advances step by step and keeps the best scheme it has seen.
class Search {
 public:
  explicit Search(const Problem& problem, int steps);
  virtual ~Search() = default;
  virtual void step() = 0;

  const Genes& best() const { return best_; }
  const Score& best_score() const { return best_score_; }
  std::uint64_t evaluations() const { return evaluations_; }
  bool done() const { return done_; }

 protected:
  // Scores schemes, counts them and keeps the best.
  void score(const std::int8_t* schemes, size_t count, Score* scores);
  Score score(const Genes& scheme);

  // Layer by layer, the label that is best if the rest of the network followed it.
  Genes greedy_scheme();

  // One sweep over the neighbours of a scheme, each improvement taken at once: another label for a layer, for
  // a stage, for an edge of a stage. Returns whether anything improved.
  bool descend(Genes& scheme, Score& score);

  bool better(const Score& a, const Score& b) const { return stageplan::better(problem_, a, b); }

  const Problem& problem_;
  const size_t layers_;
  bool done_ = false;

 private:
  bool try_segment(Genes& scheme, Score& score, int first, int last, int label);

  Scorer scorer_;
  Genes best_;
  Score best_score_;
  std::uint64_t evaluations_ = 0;
};

// A scheme of few or many stages: the chance of a new label at each layer is itself drawn, from 1 down to
// one in the number of layers.
void random_scheme(const Problem& problem, Rng& rng, std::int8_t* scheme);

class RandomSearch : public Search {
 public:
  RandomSearch(const Problem& problem, std::uint64_t seed)
      : Search(problem, Provisioner::kAllSteps), seed_(seed) {}
  void step() override;

 private:
  std::uint64_t seed_, steps_ = 0;
};

class Enumeration : public Search {
 public:
  static constexpr double kMostSchemes = 1 << 24;
  // Throws std::invalid_argument above kMostSchemes.
  explicit Enumeration(const Problem& problem);
  void step() override;

 private:
  bool next();
  Genes scheme_;
};

class GreedySearch : public Search {
 public:
  explicit GreedySearch(const Problem& problem) : Search(problem, Provisioner::kAllSteps) {}
  void step() override;

 private:
  Genes scheme_;
  Score score_;
};

}  // namespace stageplan
