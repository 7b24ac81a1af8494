// What all searches share, and the simple ones: random, enumerate, greedy.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/state.h"
#include "kernels/scorer.h"
#include "search/schemes.h"

namespace stageplan {

// A search advances step by step and keeps the best scheme it has seen, exactly provisioned. A step that is
// stopped (common/stop.h) throws `Stopped`; best scheme and bound remain valid.
class Search {
 public:
  explicit Search(const Problem& problem) : problem_(problem), layers_(problem.layers) {}
  virtual ~Search() = default;
  virtual void step() = 0;

  // A lower bound of the objective, $, seconds per example or $/hour; infinity if infeasibility is proven. By
  // default from the work of all layers, however they are grouped; -infinity for a plan cost.
  virtual double bound() const;

  const Genes& best() const { return best_; }
  const Score& best_score() const { return best_score_; }
  std::uint64_t evaluations() const { return evaluations_; }

  // A measure of computation that is the same on every machine: by default the genes of the schemes scored.
  virtual std::uint64_t work() const { return evaluations_ * layers_; }

  // Uses the best plan on one type if nothing has been scored, as after a stop in the first step.
  void ensure_best();
  bool done() const { return done_; }
  const Problem& problem() const { return problem_; }

  // What the search is at between two steps. Restored in a search made from the same arguments, but for the
  // threads, it goes on with the same bits. Throws std::invalid_argument if it is of another problem or
  // damaged; the search is then of no further use.
  std::string state();
  void restore(std::string_view state);

  // Saves or loads that; made of what cannot be made again from the arguments.
  virtual void transfer(State& state);

  // The best scheme and, for some searches, other good ones.
  virtual Genes tried() const { return best_; }

 protected:
  // The objective of the best scheme; infinity if none is feasible yet.
  double least() const;

  // Keeps a scheme if it is the best.
  void keep(const std::int8_t* scheme, const Score& score);

  const Problem& problem_;
  const size_t layers_;
  std::uint64_t evaluations_ = 0;
  bool done_ = false;

 private:
  Genes best_;
  Score best_score_;
};

// A search that provisions every scheme exactly.
class ExactSearch : public Search {
 public:
  ExactSearch(const Problem& problem, int threads) : Search(problem), scorer_(problem), threads_(threads) {}

 protected:
  void score(const Genes& schemes);
  Scorer scorer_;

 private:
  const int threads_;
};

class RandomSearch : public ExactSearch {
 public:
  RandomSearch(const Problem& problem, std::uint64_t seed, int threads)
      : ExactSearch(problem, threads), seed_(seed) {}
  void step() override;
  void transfer(State& state) override;

 private:
  std::uint64_t seed_, steps_ = 0;
};

class Enumeration : public ExactSearch {
 public:
  static constexpr double kMostSchemes = 1 << 24;
  // Throws std::invalid_argument above kMostSchemes.
  Enumeration(const Problem& problem, int threads);
  void step() override;
  void transfer(State& state) override;
  double bound() const override { return done_ && scorer_.complete() ? least() : Search::bound(); }

 private:
  bool next();
  Genes scheme_;
};

// Local search from the best of the homogeneous schemes and a greedy one, all in one step.
class GreedySearch : public ExactSearch {
 public:
  explicit GreedySearch(const Problem& problem) : ExactSearch(problem, 1) {}
  void step() override;
};

}  // namespace stageplan
