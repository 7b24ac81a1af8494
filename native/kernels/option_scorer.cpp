#include "kernels/option_scorer.h"

#include <algorithm>

#include "common/stop.h"
#include "kernels/instruction_set.h"
#include "model/provision.h"

namespace stageplan {
namespace {

constexpr size_t kMostBytes = size_t{1} << 28;  // of all tables

}  // namespace

OptionScorer::OptionScorer(const Problem& problem, double time, Allowed allowed, OptionWeights weights)
    : problem_(problem),
      time_(time),
      weights_(std::move(weights)),
      by_stages_(allowed == Allowed::plan && problem.columns->schedule != Schedule::none),
      groups_(static_cast<int>(problem.option_lists().options().groups().size())),
      count_(static_cast<size_t>(by_stages_ ? problem.layers + 1 : 1) * groups_) {
  tables_ = std::make_unique<std::atomic<const OptionTable*>[]>(count_);
}

OptionScorer::~OptionScorer() {
  for (size_t i = 0; i < count_; ++i) delete tables_[i].load();
}

double OptionScorer::stage_time(int stages) const {
  const int microbatches = problem_.columns->microbatches;
  return by_stages_ ? time_ * microbatches / (microbatches + stages - 1) : time_;
}

const OptionTable* OptionScorer::table(int stages, int group) const {
  std::atomic<const OptionTable*>& place =
      tables_[static_cast<size_t>(by_stages_ ? stages : 0) * groups_ + group];
  if (const OptionTable* made = place.load(std::memory_order_acquire)) return made;
  const std::lock_guard lock(mutex_);
  if (const OptionTable* made = place.load(std::memory_order_acquire)) return made;
  if (bytes_ + OptionTable::bytes(problem_) > kMostBytes) return nullptr;
  bytes_ += OptionTable::bytes(problem_);
  const OptionGroup& of = problem_.option_lists().options().groups()[group];
  place.store(new OptionTable(problem_, stage_time(stages), of, weights_), std::memory_order_release);
  return place.load(std::memory_order_acquire);
}

void OptionScorer::score(const std::int8_t* schemes, size_t count, const ScoreArrays& scores,
                         bool skip_unfit) const {
  const OptionKernelInput input{.problem = problem_,
                                .columns = *problem_.columns,
                                .label_shift = problem_.neighbours_may_share_type() ? 1 : 0,
                                .scorer = *this,
                                .group = 0};
  if (groups_ > 1)
    score_groups(input, schemes, count, scores);
  else
    instruction_set().option_kernel(input, schemes, count, scores);
  const bool all_tables = OptionTable::bytes(problem_) * count_ <= kMostBytes;
  if (!skip_unfit || !all_tables) score_unfit(schemes, count, scores);
}

// All groups: the best one counts. Where one does not fit, the scheme is unfit.
void OptionScorer::score_groups(OptionKernelInput input, const std::int8_t* schemes, size_t count,
                                const ScoreArrays& scores) const {
  std::vector<double> numbers(4 * count);
  double* const first = numbers.data();
  const ScoreArrays now{first, first + count, first + 2 * count, first + 3 * count};
  std::vector<Score> best(count);
  for (input.group = 0; input.group < groups_; ++input.group) {
    instruction_set().option_kernel(input, schemes, count, now);
    for (size_t i = 0; i < count; ++i) {
      const Score score{now.cost[i], now.time[i], now.violation[i], now.price[i]};
      if (input.group > 0 && best[i].violation == kInfinity) continue;
      if (input.group == 0 || score.violation == kInfinity || improves_beyond_tie(problem_, score, best[i]))
        best[i] = score;
    }
  }
  for (size_t i = 0; i < count; ++i) scores.set(i, best[i]);
}

// One by one, from the lists of options.
void OptionScorer::score_unfit(const std::int8_t* schemes, size_t count, const ScoreArrays& scores) const {
  std::unique_ptr<Provisioner> provisioner;
  std::unique_ptr<StageLoads> loads;
  std::vector<Stage> stages;
  for (size_t i = 0; i < count; ++i) {
    if (scores.violation[i] != kInfinity) continue;
    check_stop_often();
    if (!provisioner) {
      provisioner = std::make_unique<Provisioner>(problem_);
      loads = std::make_unique<StageLoads>(problem_);
    }
    merge(problem_, *loads, schemes + i * problem_.layers, stages);
    scores.set(i, provisioner->reach(stages, stage_time(static_cast<int>(stages.size()))));
  }
}

}  // namespace stageplan
