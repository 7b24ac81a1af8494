#include "search/position_path.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/stop.h"

namespace stageplan {
namespace {

constexpr double kMaxWork = 1 << 26;  // table entries read; limits the number of positions

// The best path from a cut to the end.
struct Way {
  double value = kInfinity;
  int type = -1, last = -1;
};

// The best path, and the best one that begins with another type.
struct Ways {
  Way best, other;

  const Way& without(int type) const { return best.type == type ? other : best; }

  void add(const Way& way) {
    if (way.type == best.type) {
      if (way.value < best.value) best = way;
    } else if (way.value < best.value) {
      other = best;
      best = way;
    } else if (way.value < other.value) {
      other = way;
    }
  }
};

class PositionPath {
 public:
  PositionPath(const Problem& problem, const OptionTable& table, double pass_price)
      : problem_(problem), table_(table), pass_price_(pass_price), layers_(problem.layers) {
    const double each = 0.5 * layers_ * layers_ * problem.types;
    positions_ = static_cast<int>(std::clamp(kMaxWork / each, 2.0, static_cast<double>(layers_)));
    positions_ = std::min(positions_, problem.columns->max_stages);
    ways_.resize(static_cast<size_t>(positions_ + 1) * (layers_ + 1));
    for (int position = 1; position <= positions_; ++position) {
      check_stop();
      for (int first = layers_ - position; first >= 0; --first) find(position, first);
    }
  }

  Genes scheme() const {
    int position = 1;
    for (int q = 2; q <= positions_; ++q)
      if (ways(q, 0).best.value < ways(position, 0).best.value) position = q;
    Genes scheme;
    if (ways(position, 0).best.type < 0) return scheme;
    const int labels = problem_.labels() / problem_.types;
    for (int first = 0, before = -1, turn = 0; position > 0; --position) {
      const Way& way = labels > 1 ? ways(position, first).best : ways(position, first).without(before);
      turn = way.type == before ? 1 - turn : 0;
      scheme.insert(scheme.end(), way.last + 1 - first, static_cast<std::int8_t>(way.type * labels + turn));
      before = way.type;
      first = way.last + 1;
    }
    return scheme;
  }

 private:
  Ways& ways(int position, int first) { return ways_[static_cast<size_t>(position) * (layers_ + 1) + first]; }
  const Ways& ways(int position, int first) const {
    return ways_[static_cast<size_t>(position) * (layers_ + 1) + first];
  }

  void find(int position, int first) {
    const Columns& columns = *problem_.columns;
    const int in_flight =
        columns.schedule == Schedule::one_f_one_b ? std::min(position, columns.microbatches) : 1;
    const bool repeats = problem_.neighbours_may_share_type();
    Ways found;
    const OptionTable::Entry* const row = table_.row(first);
    for (int last = position == 1 ? layers_ - 1 : first; last <= layers_ - position; ++last)
      for (int type = 0; type < problem_.types; ++type) {
        const OptionTable::Entry& entry = table_.at(row[last * problem_.types + type], in_flight);
        if (entry.devices == OptionTable::kUnfit) continue;
        double value = problem_.price[type] * entry.devices + pass_price_ * entry.pass;
        if (position > 1) {
          const Ways& rest = ways(position - 1, last + 1);
          value += (repeats ? rest.best : rest.without(type)).value;
        }
        if (value < kInfinity) found.add({value, type, last});
      }
    ways(position, first) = found;
  }

  const Problem& problem_;
  const OptionTable& table_;
  const double pass_price_;
  const int layers_;
  int positions_;
  std::vector<Ways> ways_;  // (positions + 1, layers + 1)
};

}  // namespace

Genes cheapest_by_position(const Problem& problem, const OptionTable& table, double pass_price) {
  return PositionPath(problem, table, pass_price).scheme();
}

}  // namespace stageplan
