#include "kernels/scorer.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "common/stop.h"
#include "common/threads.h"
#include "kernels/instruction_set.h"
#include "kernels/plan_cost_scorer.h"

namespace stageplan {
namespace {

// Words index the stages with 32 bits; above this size schemes are scored from the stage table.
constexpr size_t kMaxWords = size_t{1} << 24;

}  // namespace

Scorer::Scorer(const Problem& problem, int steps)
    : problem_(problem), loads_(problem), steps_(steps), at_target_(false), table_(problem, loads_, 1.0, 0) {}

Scorer::Scorer(const Problem& problem, double time, Allowed allowed, OptionWeights weights)
    : problem_(problem),
      loads_(problem),
      time_(time),
      at_target_(true),
      table_(problem, loads_, time,
             problem.merge == Merge::adjacent && !problem.by_options() ? StageTable::kMaxBytes : 0) {
  if (problem.by_options())
    by_options_ = std::make_unique<OptionScorer>(problem, time, allowed, std::move(weights));
  else if (problem.plan_cost && problem.merge == Merge::adjacent)
    records_ = std::make_unique<RecordTable>(problem, loads_, table_);
  const size_t layers = problem.layers;
  if (!table_.stored() || layers * layers * problem.types > kMaxWords) return;
  bucket_limits_.assign(kBuckets, 254);
  for (int t = 0; t < problem.types; ++t) {
    limit_words_.push_back(static_cast<std::uint16_t>(std::min(problem.limit[t], 65535.0)));
    bucket_limits_[t % kBuckets] =
        static_cast<std::uint8_t>(std::min<int>(bucket_limits_[t % kBuckets], limit_words_[t]));
  }
  packed_ = std::make_unique<PackedTable>(table_, problem);
  short_stages_ = std::make_unique<ShortStages>(*packed_, problem);
  kernel_ = instruction_set().kernel;
  input_.emplace(KernelInput{.scorer = *this,
                             .words = packed_->words.data(),
                             .short_stages = *short_stages_,
                             .times = packed_->times.data(),
                             .price = problem.price.data(),
                             .limit = problem.limit.data(),
                             .limit_weight = problem.limit_weight().data(),
                             .limit_word = limit_words_.data(),
                             .bucket_limit = bucket_limits_.data(),
                             .layers = problem.layers,
                             .types = problem.types,
                             .labels = problem.labels(),
                             .label_shift = problem.neighbours_may_share_type() ? 1 : 0});
}

Scorer::~Scorer() = default;

bool Scorer::score(const std::int8_t* schemes, size_t count, const ScoreArrays& scores, int threads) const {
  constexpr size_t part = 4096;
  if (count <= part) {
    check_stop();
    return score_part(schemes, count, scores, false);
  }
  const size_t parts = (count + part - 1) / part;
  std::atomic<bool> valid{true};
  parallel_for(parts, threads, [&](size_t i) {
    check_stop();
    const size_t from = i * part, size = std::min(part, count - from);
    if (!score_part(schemes + from * problem_.layers, size, scores.from(from), false)) valid = false;
  });
  return valid;
}

Score Scorer::score(const std::int8_t* scheme) const {
  Score result;
  score_part(scheme, 1, {&result.cost, &result.time, &result.violation, &result.price}, false);
  return result;
}

std::pair<Score, double> Scorer::score_plan(const std::int8_t* scheme) const {
  std::pair<Score, double> result{};
  auto& [score, cost] = result;
  score_part(scheme, 1, {&score.cost, &score.time, &score.violation, &score.price, &cost}, false);
  return result;
}

bool Scorer::score_rivals(const std::int8_t* schemes, size_t count, const ScoreArrays& scores,
                          double objective) const {
  return score_part(schemes, count, scores, by_options_ || (packed_ && objective < packed_->least_unfit));
}

bool Scorer::score_part(const std::int8_t* schemes, size_t count, const ScoreArrays& scores,
                        bool skip_unfit) const {
  if (problem_.plan_cost) return score_plan_costs(schemes, count, scores);
  return score_objective(schemes, count, scores, skip_unfit);
}

bool Scorer::score_objective(const std::int8_t* schemes, size_t count, const ScoreArrays& scores,
                             bool skip_unfit) const {
  if (kernel_) {
    KernelInput input = *input_;
    input.skip_unfit = skip_unfit;
    return kernel_(input, schemes, count, scores);
  }
  if (first_bad_gene(schemes, count * problem_.layers, problem_.labels()) < count * problem_.layers)
    return false;
  if (by_options_)
    by_options_->score(schemes, count, scores, skip_unfit);
  else if (at_target_ && problem_.merge == Merge::adjacent)
    for (size_t i = 0; i < count; ++i) scores.set(i, score_by_table(schemes + i * problem_.layers));
  else
    provision(schemes, count, scores);
  return true;
}

bool Scorer::score_plan_costs(const std::int8_t* schemes, size_t count, ScoreArrays scores) const {
  std::vector<double> prices(scores.price ? 0 : count);
  if (!scores.price) scores.price = prices.data();
  PlanCostScores costs(problem_, scores);
  if (records_) {
    if (!score_objective(schemes, count, scores, false)) return false;
    for (size_t i = 0; i < count; ++i) costs.add(i, schemes + i * problem_.layers, *records_);
  } else {
    if (first_bad_gene(schemes, count * problem_.layers, problem_.labels()) < count * problem_.layers)
      return false;
    provision(schemes, count, scores, &costs);
  }
  costs.finish();
  return true;
}

Score Scorer::score_by_table(const std::int8_t* scheme) const {
  std::int64_t counts[kMaxLabels] = {};
  double time = 0, violation = 0, price = problem_.fixed_price;
  for (int first = 0, last; first < problem_.layers; first = last + 1) {
    const std::int8_t label = scheme[first];
    for (last = first; last + 1 < problem_.layers && scheme[last + 1] == label;) ++last;
    const int type = problem_.type_of(label);
    const StageTable::Entry entry =
        table_.stored() ? table_.row(first)[last * problem_.types + type] : table_.make(first, last, type);
    time = std::max(time, entry.time);
    violation += entry.violation;
    counts[type] += entry.devices;
    price += problem_.price[type] * entry.devices;
  }
  if (problem_.types <= kCountedTypes) price = hourly_price(problem_, counts);
  return price_plan(problem_, time, price, limit_violation(problem_, counts), violation);
}

void Scorer::transfer(State& state) {
  bool complete = complete_;
  state(complete);
  complete_ = complete;
}

void Scorer::provision(const std::int8_t* schemes, size_t count, const ScoreArrays& scores,
                       PlanCostScores* costs) const {
  Provisioner provisioner(problem_);
  std::vector<Stage> stages;
  for (size_t i = 0; i < count; ++i) {
    check_stop();
    const std::int8_t* const scheme = schemes + i * problem_.layers;
    merge(problem_, loads_, scheme, stages);
    scores.set(i, provision(stages, provisioner));
    if (costs) costs->add(i, scheme, stages, provisioner);
  }
}

Score Scorer::provision(const std::vector<Stage>& stages, Provisioner& provisioner) const {
  if (by_options_) return provisioner.reach(stages, by_options_->stage_time(static_cast<int>(stages.size())));
  if (at_target_) return provisioner.reach(stages, time_);
  const Score score = provisioner.best(stages, steps_);
  if (!provisioner.complete()) complete_ = false;
  return score;
}

size_t first_bad_gene(const std::int8_t* genes, size_t count, int labels) {
  const auto last_label = static_cast<std::uint8_t>(labels - 1);
  if (instruction_set().largest_gene(genes, count) <= last_label) return count;
  const auto bad = [&](std::int8_t gene) { return static_cast<std::uint8_t>(gene) > last_label; };
  return static_cast<size_t>(std::find_if(genes, genes + count, bad) - genes);
}

void check_genes(const Problem& problem, const char* name, const std::int8_t* genes, size_t count,
                 size_t before) {
  const size_t bad = first_bad_gene(genes, count, problem.labels());
  if (bad == count) return;
  const size_t position = before + bad, layers = problem.layers;
  throw std::invalid_argument(std::string(name) + "[" + std::to_string(position / layers) + ", " +
                              std::to_string(position % layers) + "] is " + std::to_string(genes[bad]) +
                              "; it must be a label from 0 to " + std::to_string(problem.labels() - 1));
}

}  // namespace stageplan
