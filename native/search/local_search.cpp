#include "search/local_search.h"

#include <algorithm>

#include "common/stop.h"

namespace stageplan {
LocalSearch::LocalSearch(const Problem& problem, const StageTable& table)
    : problem_(problem),
      table_(table),
      labels_of_(problem.types),
      stage_of_(problem.layers),
      counts_(problem.types) {
  for (int label = 0; label < problem.labels(); ++label) labels_of_[problem.type_of(label)].push_back(label);
}

const StageTable::Entry& LocalSearch::entry(int first, int last, int type) const {
  return table_.row(first)[last * problem_.types + type];
}

LocalSearch::Sum LocalSearch::plus(Sum sum, const StageTable::Entry& entry, int type) const {
  return {std::max(sum.time, entry.time), sum.price + problem_.price[type] * entry.devices,
          sum.violation + entry.violation};
}

double LocalSearch::broken(int type, double devices) const {
  return std::max(0.0, devices - problem_.limit[type]) * problem_.limit_weight()[type];
}

void LocalSearch::change_count(int type, int devices) {
  const double was = broken(type, counts_[type]), is = broken(type, counts_[type] + devices);
  counts_[type] += devices;
  broken_types_ += (is > 0) - (was > 0);
  limits_ = broken_types_ == 0 ? 0 : limits_ - was + is;
}

void LocalSearch::load(const std::int8_t* scheme) {
  stages_.clear();
  for (int first = 0, last; first < problem_.layers; first = last + 1) {
    for (last = first; last + 1 < problem_.layers && scheme[last + 1] == scheme[first];) ++last;
    std::fill(stage_of_.begin() + first, stage_of_.begin() + last + 1, static_cast<int>(stages_.size()));
    const int type = problem_.type_of(scheme[first]);
    stages_.push_back({scheme[first], type, first, last, entry(first, last, type)});
  }
  const size_t count = stages_.size();
  before_.assign(count + 1, {});
  after_.assign(count + 1, {});
  for (size_t s = 0; s < count; ++s) before_[s + 1] = plus(before_[s], stages_[s].entry, stages_[s].type);
  for (size_t s = count; s-- > 0;) after_[s] = plus(after_[s + 1], stages_[s].entry, stages_[s].type);
}

Score LocalSearch::score() const {
  std::int64_t counts[kMaxLabels] = {};
  for (const TableStage& stage : stages_) counts[stage.type] += stage.entry.devices;
  return price_plan(problem_, counts, before_.back().time, before_.back().violation);
}

// Marks the layers of these two layers' stages and of the stages beside them.
void LocalSearch::mark(int first, int last) {
  const int from = std::max(stage_of_[first] - 1, 0);
  const int to = std::min(stage_of_[last] + 1, static_cast<int>(stages_.size()) - 1);
  std::fill(marked_.begin() + stages_[from].first, marked_.begin() + stages_[to].last + 1, 1);
}

std::uint64_t LocalSearch::descend(std::int8_t* scheme, Score& score, int reach) {
  load(scheme);
  marked_.assign(problem_.layers, 1);
  return descend_marked(scheme, score, reach);
}

std::uint64_t LocalSearch::descend_near(std::int8_t* scheme, Score& score, int a, int b, int reach) {
  load(scheme);
  marked_.assign(problem_.layers, 0);
  mark(a, a);
  mark(b, b);
  return descend_marked(scheme, score, reach);
}

// For the loaded scheme.
std::uint64_t LocalSearch::descend_marked(std::int8_t* scheme, Score& score, int reach) {
  looked_at_ = 0;
  reach_ = reach;
  score = this->score();
  std::vector<std::int8_t> changed(scheme, scheme + problem_.layers);
  for (int at = 0, clean = 0; clean < problem_.layers; at = (at + 1) % problem_.layers) {
    ++clean;
    if (!marked_[at]) continue;
    check_stop();
    marked_[at] = 0;
    const Change change = best_change(at, score);
    if (change.last < 0) continue;
    std::fill(changed.begin() + at, changed.begin() + change.last + 1, static_cast<std::int8_t>(change.label));
    load(changed.data());
    const Score now = this->score();
    if (better(problem_, now, score)) {  // rounding may disagree with the sums
      std::copy(changed.begin(), changed.end(), scheme);
      score = now;
      mark(at, change.last);
      clean = 0;
    } else {
      std::copy_n(scheme, problem_.layers, changed.begin());
      load(scheme);
    }
  }
  return looked_at_;
}

// The best run of layers that begins at `first`, and its label; last < 0 if none improves.
LocalSearch::Change LocalSearch::best_change(int first, const Score& current) {
  const int count = static_cast<int>(stages_.size()), layers = problem_.layers;
  const int left = first > 0 ? stage_of_[first - 1] : 0;  // the first stage that the run may cut
  int right = stage_of_[first];                           // the last one
  std::fill(counts_.begin(), counts_.end(), 0.0);
  limits_ = broken_types_ = 0;
  for (int s = 0; s < count; ++s)
    if (s < left || s > right) change_count(stages_[s], 1);

  Change best;
  best.score = current;
  for (int last = first; last < layers && right - left <= reach_; ++last) {
    const bool to_end = last + 1 == layers;
    if (!to_end && stage_of_[last + 1] != right) change_count(stages_[++right], -1);
    const Sum &ahead = before_[left], &behind = after_[right + 1];
    const Sum outer{std::max(ahead.time, behind.time), problem_.fixed_price + ahead.price + behind.price,
                    ahead.violation + behind.violation};
    overwrite(outer, first, last, to_end ? -1 : right, best);
  }
  return best;
}

// Tries all labels for the layers first..last; `right`: the stage of the layer after them, or -1.
void LocalSearch::overwrite(const Sum& outer, int first, int last, int right, Change& best) {
  if (hopeless(outer, best)) return;
  TableStage before{-1, 0, 0, 0, {}}, behind = before;  // what is left of the stages at the ends
  Sum with_before = outer, with_behind = outer;
  if (first > 0) {
    before = stages_[stage_of_[first - 1]];
    before.entry = entry(before.first, first - 1, before.type);
    with_before = plus(outer, before.entry, before.type);
  }
  if (right >= 0) {
    behind = stages_[right];
    behind.entry = entry(last + 1, behind.last, behind.type);
    with_behind = plus(outer, behind.entry, behind.type);
  }
  if (before.label >= 0 && before.label == behind.label) {
    consider(outer, {}, before.first, behind.last, before.type, last, before.label, best);
  } else {
    if (before.label >= 0)
      consider(with_behind, {&behind}, before.first, last, before.type, last, before.label, best);
    if (behind.label >= 0)
      consider(with_before, {&before}, first, behind.last, behind.type, last, behind.label, best);
  }
  const Sum rest = behind.label < 0 ? with_before : plus(with_before, behind.entry, behind.type);
  if (!hopeless(rest, best)) overwrite_apart(rest, before, behind, first, last, best);
}

// The run as a separate stage: every type, with a label that differs from both neighbours'.
void LocalSearch::overwrite_apart(const Sum& rest, const TableStage& before, const TableStage& behind,
                                  int first, int last, Change& best) {
  for (int type = 0; type < problem_.types; ++type)
    for (int label : labels_of_[type])
      if (label != before.label && label != behind.label) {
        consider(rest, {&before, &behind}, first, last, type, last, label, best);
        break;
      }
}

// Whether adding stages cannot make this better than the best.
bool LocalSearch::hopeless(const Sum& rest, const Change& best) const {
  if (best.score.violation > 0) return false;
  if (rest.violation > 0) return true;
  if (problem_.objective == Objective::cost)
    return problem_.cost_scale() * rest.time * rest.price >= best.score.cost;
  return problem_.objective == Objective::throughput ? rest.time > best.score.time
                                                     : rest.price > best.score.price;
}

// Tries a stage first..last of a type beside `rest`, which includes `ends` except in the device counts. The
// change in question: layers up to `changed` get the label.
void LocalSearch::consider(const Sum& rest, Ends ends, int first, int last, int type, int changed, int label,
                           Change& best) {
  ++looked_at_;
  const StageTable::Entry& stage = entry(first, last, type);
  const Sum sum = plus(rest, stage, type);
  if (hopeless(sum, best)) return;
  for (const TableStage* end : ends) change_count(*end, 1);
  change_count(type, stage.devices);
  const Score now = price_plan(problem_, sum.time, sum.price, limits_, sum.violation);
  change_count(type, -stage.devices);
  for (const TableStage* end : ends) change_count(*end, -1);
  if (better(problem_, now, best.score)) best = {changed, label, now};
}

}  // namespace stageplan
