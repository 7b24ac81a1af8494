#include "exact/label_setting.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <tuple>

#include "common/stop.h"

namespace stageplan {
namespace {

constexpr std::uint64_t kLabelWork = 8;  // in examined arcs

}  // namespace

LabelSetting::LabelSetting(const Problem& problem, const StageGraph& graph, const Demand& demand,
                           const Multipliers& multipliers, const SegmentPath& paths, size_t width)
    : problem_(problem),
      graph_(graph),
      demand_(demand),
      multipliers_(multipliers),
      paths_(paths),
      width_(width),
      max_total_(demand.most_cost + multipliers.sum()),
      neighbours_alike_(problem.neighbours_may_share_type()),
      counted_(problem.types) {
  for (int t = 0; t < problem.types; ++t) counted_[t] = multipliers.types[t] > 0;
  weigh_arcs(problem, graph, demand, multipliers, weight_);
  order_arcs();
}

void LabelSetting::order_arcs() {
  promise_.resize(graph_.size());
  for (size_t i = 0; i < graph_.size(); ++i) promise_[i] = weight_[i] + paths_.after(graph_[i]);
  order_.resize(graph_.size());
  std::iota(order_.begin(), order_.end(), 0);
  for (int first = 0; first < graph_.layers(); ++first)
    std::sort(order_.begin() + static_cast<std::ptrdiff_t>(graph_.begin(first)),
              order_.begin() + static_cast<std::ptrdiff_t>(graph_.begin(first + 1)),
              [&](int a, int b) { return std::tie(promise_[a], a) < std::tie(promise_[b], b); });
}

// Packs the counts of the types counted, each with a guard bit.
void LabelSetting::choose_types() {
  fields_.assign(problem_.types, {});
  limit_.clear();
  guard_.clear();
  int used = 64;
  for (int t = 0; t < problem_.types; ++t) {
    if (!counted_[t]) continue;
    const auto limit = static_cast<std::uint64_t>(problem_.limit[t]);
    const int bits = std::bit_width(limit) + 1;
    if (used + bits > 64) {
      limit_.push_back(0);
      guard_.push_back(0);
      used = 0;
    }
    fields_[t] = {static_cast<int>(limit_.size()) - 1, used};
    limit_.back() |= limit << used;
    guard_.back() |= std::uint64_t{1} << (used + bits - 1);
    used += bits;
  }
}

// Whether every field is at most its limit: otherwise the subtraction borrows its guard bit.
bool LabelSetting::fits(const std::uint64_t* words, const std::uint64_t* limit) const {
  for (size_t w = 0; w < guard_.size(); ++w)
    if ((((limit[w] | guard_[w]) - words[w]) & guard_[w]) != guard_[w]) return false;
  return true;
}

// Whether the first `kept` labels dominate a label: one of them whose continuations include all of the label's,
// or two of different types, since only a stage of the same type cannot follow a label.
bool LabelSetting::dominated(const Cut& cut, const Label& label, size_t kept) {
  const std::uint64_t* words = cut.words.data() + label.words;
  int other = -1;
  work_ += kept / 4;
  check_stop_often();
  for (size_t i = 0; i < kept; ++i) {
    const Label& better = cut.labels[i];
    if (better.cost > label.cost || better.extra > label.extra || !fits(cut.words.data() + better.words, words))
      continue;
    const int type = type_of(better);
    if (neighbours_alike_ || type == type_of(label) || (other >= 0 && type != other)) return true;
    other = type;
  }
  return false;
}

void LabelSetting::prune(Cut& cut) {
  std::sort(cut.labels.begin(), cut.labels.end(), [](const Label& a, const Label& b) {
    return std::tie(a.weighted, a.cost, a.from, a.arc) < std::tie(b.weighted, b.cost, b.from, b.arc);
  });
  size_t kept = 0, i = 0;
  for (; i < cut.labels.size() && kept < width_; ++i)
    if (!dominated(cut, cut.labels[i], kept)) cut.labels[kept++] = cut.labels[i];
  for (; i < cut.labels.size(); ++i) {
    const Label& lost = cut.labels[i];
    pruned_bound_ = std::min(pruned_bound_, lost.weighted + paths_.after(graph_[lost.arc]));
  }
  cut.labels.resize(kept);
  std::vector<std::uint64_t> words;
  for (Label& label : cut.labels) {
    const auto from = cut.words.begin() + static_cast<std::ptrdiff_t>(label.words);
    label.words = words.size();
    words.insert(words.end(), from, from + static_cast<std::ptrdiff_t>(guard_.size()));
  }
  cut.words.swap(words);
}

void LabelSetting::extend(const Cut& cut, const Label& label, int id, int first) {
  const int type = neighbours_alike_ ? -1 : type_of(label);
  for (size_t at = graph_.begin(first); at < graph_.begin(first + 1); ++at) {
    const int i = order_[at];
    const Arc& arc = graph_[i];
    if (label.weighted + promise_[i] > max_total_) break;
    if (arc.type == type) continue;
    Cut& next = cuts_[arc.last + 1];
    Label longer{
        label.cost + demand_.cost[i], label.weighted + weight_[i], label.extra, id, i, next.words.size()};
    if (!demand_.extra.empty()) longer.extra += demand_.extra[i];
    if (longer.cost > demand_.most_cost || longer.extra > kWhole) continue;
    const auto from = cut.words.begin() + static_cast<std::ptrdiff_t>(label.words);
    next.words.insert(next.words.end(), from, from + static_cast<std::ptrdiff_t>(guard_.size()));
    const Field& field = fields_[arc.type];
    if (field.word >= 0) {
      next.words[longer.words + field.word] += static_cast<std::uint64_t>(arc.devices) << field.shift;
      if (!fits(next.words.data() + longer.words, limit_.data())) {
        next.words.resize(longer.words);
        continue;
      }
    }
    next.labels.push_back(longer);
    work_ += kLabelWork;
    if (next.labels.size() >= 4 * width_ + 4096) prune(next);
  }
}

std::vector<int> LabelSetting::path_of(int from, int arc) const {
  std::vector<int> path{arc};
  for (; kept_[from].arc >= 0; from = kept_[from].from) path.push_back(kept_[from].arc);
  std::reverse(path.begin(), path.end());
  return path;
}

LabelSetting::Answer LabelSetting::run_chosen() {
  cuts_.assign(graph_.layers() + 1, {});
  kept_.clear();
  pruned_bound_ = kInfinity;
  cuts_[0].labels.push_back({0, 0, 0, -1, -1, 0});
  cuts_[0].words.assign(guard_.size(), 0);
  for (int first = 0; first < graph_.layers(); ++first) {
    Cut cut = std::move(cuts_[first]);
    if (first > 0) prune(cut);
    for (const Label& label : cut.labels) {
      check_stop_often();
      kept_.push_back({label.from, label.arc});
      extend(cut, label, static_cast<int>(kept_.size()) - 1, first);
    }
  }
  Answer answer;
  const auto& ends = cuts_.back().labels;
  const auto best = std::min_element(ends.begin(), ends.end(), [](const Label& a, const Label& b) {
    return std::tie(a.cost, a.from, a.arc) < std::tie(b.cost, b.from, b.arc);
  });
  if (best != ends.end()) {
    answer.path = path_of(best->from, best->arc);
    answer.bound = best->cost;
  }
  answer.exact = pruned_bound_ == kInfinity;
  answer.bound = std::min(answer.bound, pruned_bound_ - multipliers_.sum());
  return answer;
}

// Starts to count the types of which a path uses too many devices; returns whether there are any.
bool LabelSetting::count_broken(const std::vector<int>& path) {
  const Usage usage = usage_of(problem_, graph_, demand_, path);
  bool broken = false;
  for (int t = 0; t < problem_.types; ++t)
    if (static_cast<double>(usage.counts[t]) > problem_.limit[t]) {
      counted_[t] = 1;
      broken = true;
    }
  return broken;
}

// Types whose limits no path breaks are not worth counting; they are added when a path breaks them.
LabelSetting::Answer LabelSetting::run() {
  for (;;) {
    choose_types();
    Answer answer = run_chosen();
    if (answer.path.empty() || !count_broken(answer.path)) {
      answer.work = work_;
      return answer;
    }
  }
}

}  // namespace stageplan
