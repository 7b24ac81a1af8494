#include "search/position_path.h"

#include <algorithm>
#include <vector>

#include "common/stop.h"

namespace stageplan {
namespace {

constexpr double kMaxWork = 1 << 26;  // table entries read; limits the number of positions
constexpr int kPatience = 8;          // positions without a better scheme after which the search ends

// The position of a stage determines the microbatches in flight and so the options that fit. Once more in
// flight would not exclude any option, the last position stands for all from it on.
class PositionPath {
 public:
  PositionPath(const Problem& problem, const OptionTable& table, const OptionWeights& weights, int stride)
      : problem_(problem),
        table_(table),
        weights_(weights),
        stride_(stride),
        layers_(problem.layers),
        types_(problem.types) {
    find_entries();
    rests_.push_back(std::vector<double>((layers_ + 1) * types_, kInfinity));
    std::fill(rest(0, layers_), rest(0, layers_) + types_, 0.0);
    const int most = max_positions();
    for (int position = 1; position <= most && position <= best_ + kPatience && !open_; ++position) {
      check_stop();
      find(position);
    }
  }

  Genes scheme() const {
    Genes scheme;
    if (least_ == kInfinity) return scheme;
    const int labels = problem_.labels() / types_;
    int position = best_, before = -1, turn = 0;
    for (int first = 0; first < layers_;) {
      const Stage stage = next(position, first, labels > 1 ? -1 : before);
      turn = stage.type == before ? 1 - turn : 0;
      scheme.insert(scheme.end(), stage.last + 1 - first, static_cast<std::int8_t>(stage.type * labels + turn));
      before = stage.type;
      first = stage.last + 1;
      position = stage.behind;
    }
    return scheme;
  }

 private:
  struct Stage {
    int last, type;
    int behind;  // position of the next stage
  };

  int max_positions() const {
    const double each = 0.5 * layers_ * layers_ * types_;
    const int most = static_cast<int>(std::clamp(kMaxWork / each, 2.0, static_cast<double>(layers_)));
    return std::min(most, problem_.columns->max_stages);
  }

  // Of the stages that begin at `first`, that of (last, type) stands at [last * types + type].
  std::ptrdiff_t row(int first) const { return table_.row(first) - table_.row(0); }

  // The last layer of the shortest stage from a cut on.
  int end_of(int cut) const { return cut < layers_ ? std::min(cut + stride_, layers_) - 1 : layers_; }

  double value(const OptionTable::Entry& entry, int type) const {
    if (!table_.reaches(entry)) return kInfinity;
    return weights_.of_device(problem_, type) * entry.devices + weights_.pass * entry.pass;
  }

  double* rest(int position, int cut) { return &rests_[position][static_cast<size_t>(cut) * types_]; }
  const double* rest(int position, int cut) const {
    return &rests_[position][static_cast<size_t>(cut) * types_];
  }

  int in_flight(int position) const { return problem_.option_lists().options().in_flight(position); }

  // Those of the first position.
  void find_entries() {
    const std::ptrdiff_t count = row(layers_ - 1) + static_cast<std::ptrdiff_t>(layers_) * types_;
    values_.resize(count);
    for (std::ptrdiff_t place = 0; place < count; ++place) set(place, table_.row(0)[place]);
  }

  void set(std::ptrdiff_t place, const OptionTable::Entry& entry) {
    values_[place] = value(entry, static_cast<int>(place % types_));
    if (entry.most == OptionTable::kAny) return;
    if (until_.size() <= entry.most) until_.resize(entry.most + 1);
    until_[entry.most].push_back(place);
    ++ending_;
  }

  // Takes the entries that hold with so many in flight.
  void advance(int in_flight) {
    if (static_cast<int>(until_.size()) < in_flight) return;
    const std::vector<std::ptrdiff_t> places = std::move(until_[in_flight - 1]);
    until_[in_flight - 1].clear();
    for (const std::ptrdiff_t place : places) {
      --ending_;
      set(place, table_.at(table_.row(0)[place], in_flight));
    }
  }

  void find(int position) {
    const int now = in_flight(position);
    if (position > 1) advance(now);
    open_ = problem_.columns->max_stages >= layers_ &&
            (ending_ == 0 || now == problem_.option_lists().options().most_in_flight());
    rests_.push_back(std::vector<double>((layers_ + 1) * types_, kInfinity));
    for (int first = (layers_ - position) / stride_ * stride_; first >= 0; first -= stride_)
      find(position, first);
  }

  // What stages that begin at a cut count for, by type.
  void find(int position, int first) {
    double all[kMaxLabels];
    std::fill(all, all + types_, kInfinity);
    const double* const values = values_.data() + row(first);
    const int least = position == 1 && !open_ ? layers_ - 1 : end_of(first);
    for (int last = least; last <= layers_ - position; last = end_of(last + 1)) {
      const double* const own = values + static_cast<std::ptrdiff_t>(last) * types_;
      const double* const behind = rest(position - 1, last + 1);
      for (int t = 0; t < types_; ++t) all[t] = std::min(all[t], own[t] + behind[t]);
      if (!open_) continue;
      const double* const same = rest(position, last + 1);
      for (int t = 0; t < types_; ++t) all[t] = std::min(all[t], own[t] + same[t]);
    }
    leave_out_type(all, rest(position, first));
    const double best = *std::min_element(all, all + types_);
    if (first > 0 || best >= least_) return;
    least_ = best;
    best_ = position;
  }

  // The least of the others of each type; of all where neighbours may be alike.
  void leave_out_type(const double* all, double* others) const {
    double least = kInfinity, second = kInfinity;
    for (int t = 0; t < types_; ++t) {
      second = std::min(second, std::max(least, all[t]));
      least = std::min(least, all[t]);
    }
    const bool repeats = problem_.neighbours_may_share_type();
    for (int t = 0; t < types_; ++t) others[t] = all[t] == least && !repeats ? second : least;
  }

  // The stage that begins the best way from a cut to the end, on another type than the one before it.
  Stage next(int position, int first, int before) const {
    Stage best{-1, -1, 0};
    double least = kInfinity;
    for (int last = end_of(first); last <= layers_ - position; last = end_of(last + 1))
      for (int type = 0; type < types_; ++type) {
        if (type == before) continue;
        const OptionTable::Entry& entry = table_.row(first)[last * types_ + type];
        const double own = value(table_.at(entry, in_flight(position)), type);
        for (int behind = position - 1; behind <= position; ++behind) {
          if (behind == position && !(open_ && position + 1 == static_cast<int>(rests_.size()))) continue;
          const double all = own + rest(behind, last + 1)[type];
          if (all >= least) continue;
          least = all;
          best = {last, type, behind};
        }
      }
    return best;
  }

  const Problem& problem_;
  const OptionTable& table_;
  const OptionWeights& weights_;
  const int stride_, layers_, types_;
  std::vector<double> values_;                      // of the entries at the position
  std::vector<std::vector<std::ptrdiff_t>> until_;  // places of those that hold up to so many in flight
  int ending_ = 0;                                  // these places altogether
  bool open_ = false;
  double least_ = kInfinity;  // of all schemes
  int best_ = 1 << 24;        // the position of its first stage
  std::vector<std::vector<double>>
      rests_;  // [position](layers + 1, types): what stages from a cut on count for
};

}  // namespace

Genes cheapest_by_position(const Problem& problem, const OptionTable& table, const OptionWeights& weights,
                           int stride) {
  return PositionPath(problem, table, weights, stride).scheme();
}

}  // namespace stageplan
