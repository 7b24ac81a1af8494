// Scores of many schemes where stages are chosen among options, at one target.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "kernels/option_kernels.h"

namespace stageplan {

// What a target allows: the seconds an example of each stage, or those of the plan, of which a schedule's fill
// and drain take a part.
enum class Allowed { stage, plan };

// Tables are made when first needed: where the plan's time is given, one for each number of stages. The same
// from all threads.
class OptionScorer {
 public:
  OptionScorer(const Problem& problem, double time, Allowed allowed, OptionWeights weights);
  ~OptionScorer();
  OptionScorer(const OptionScorer&) = delete;
  OptionScorer& operator=(const OptionScorer&) = delete;

  // With `skip_unfit` schemes with a stage that does not fit get infinite scores.
  void score(const std::int8_t* schemes, size_t count, const ScoreArrays& scores, bool skip_unfit) const;

  // The table of a group for schemes of so many stages; null where tables take too much memory.
  const OptionTable* table(int stages, int group) const;

  // The time that each stage may take in schemes of so many stages.
  double stage_time(int stages) const;

 private:
  void score_groups(OptionKernelInput input, const std::int8_t* schemes, size_t count,
                    const ScoreArrays& scores) const;
  void score_unfit(const std::int8_t* schemes, size_t count, const ScoreArrays& scores) const;

  const Problem& problem_;
  const double time_;
  const OptionWeights weights_;
  const bool by_stages_;  // whether the number of stages matters
  const int groups_;
  mutable std::mutex mutex_;
  mutable size_t bytes_ = 0;
  std::unique_ptr<std::atomic<const OptionTable*>[]> tables_;  // (stages, groups)
  size_t count_;
};

}  // namespace stageplan
