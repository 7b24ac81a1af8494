#include "kernels.h"

#include <algorithm>

namespace stageplan {
namespace {

// Merges and scores one scheme from the stage table: `entry(first, last, type)`.
template <class EntryOf>
Score score_by_table(const Problem& problem, const std::int8_t* scheme, std::int64_t* counts,
                     EntryOf entry_of) {
  std::fill(counts, counts + problem.types, 0);
  double time = 0, violation = 0;
  for (int first = 0, last; first < problem.layers; first = last + 1) {
    const std::int8_t label = scheme[first];
    for (last = first; last + 1 < problem.layers && scheme[last + 1] == label;) ++last;
    const int type = problem.type_of(label);
    const StageTable::Entry& entry = entry_of(first, last, type);
    time = std::max(time, entry.time);
    violation += entry.violation;
    counts[type] += entry.devices;
  }
  return price_plan(problem, counts, time, violation);
}

}  // namespace

Scorer::Scorer(const Problem& problem, int steps)
    : problem_(problem), loads_(problem), steps_(steps), at_target_(false), table_(problem, loads_, 1.0, 0) {}

Scorer::Scorer(const Problem& problem, double time)
    : problem_(problem),
      loads_(problem),
      time_(time),
      at_target_(true),
      table_(problem, loads_, time, problem.merge == Merge::adjacent ? StageTable::kMaxBytes : 0) {}

void Scorer::score(const std::int8_t* schemes, size_t count, Score* scores) const {
  const int layers = problem_.layers, types = problem_.types;
  if (at_target_ && problem_.merge == Merge::adjacent) {
    std::vector<std::int64_t> counts(types);
    const auto stored = [&](int first, int last, int type) -> const StageTable::Entry& {
      return table_.row(first)[last * types + type];
    };
    const auto made = [&](int first, int last, int type) { return table_.make(first, last, type); };
    for (size_t i = 0; i < count; ++i, schemes += layers)
      scores[i] = table_.stored() ? score_by_table(problem_, schemes, counts.data(), stored)
                                  : score_by_table(problem_, schemes, counts.data(), made);
    return;
  }
  Provisioner provisioner(problem_);
  std::vector<Stage> stages;
  for (size_t i = 0; i < count; ++i, schemes += layers) {
    merge(problem_, loads_, schemes, stages);
    scores[i] = at_target_ ? provisioner.reach(stages, time_) : provisioner.best(stages, steps_);
  }
}

size_t first_bad_gene(const std::int8_t* genes, size_t count, int labels) {
  constexpr size_t block = 4096;
  for (size_t from = 0; from < count; from += block) {
    const size_t to = std::min(count, from + block);
    bool bad = false;
    for (size_t i = from; i < to; ++i) bad |= static_cast<std::uint8_t>(genes[i]) >= labels;
    if (bad)
      return std::find_if(genes + from, genes + to,
                          [&](std::int8_t g) { return static_cast<std::uint8_t>(g) >= labels; }) -
             genes;
  }
  return count;
}

}  // namespace stageplan
