#include "exact/segment_sweep.h"

#include <algorithm>
#include <cmath>

#include "common/stop.h"
#include "model/devices_bound.h"

namespace stageplan {
namespace {

constexpr double kRate = 1 - kTolerance;  // margin for rounding: bounds stay valid
constexpr Least kNothing{0, 0};           // to add to a total
constexpr double kRounding = 1e-15;       // of a sum, for each of its terms
constexpr size_t kAhead = 6;              // paths from that which is read to that which memory is asked for
constexpr std::uint64_t kTypeWork = 4, kOpenWork = 2, kStageWork = 16;

}  // namespace

SegmentSweep::SegmentSweep(const Problem& problem, const StageSource& stages)
    : problem_(problem),
      stages_(stages),
      listed_(stages.listed()),
      neighbours_alike_(problem.neighbours_may_share_type()) {
  for (int t = 0; t < problem.types; ++t) {
    if (problem.limit[t] < 1) continue;
    Type type{
        t, most_devices(problem, t), problem.price[t], problem.transfer_parallel[t], 0, {}, {}, {}, {}, {}, {}};
    for (auto* sums : {&type.serial, &type.parallel, &type.work, &type.send, &type.receive})
      sums->resize(problem.layers + 1);
    add_sums(type);
    types_.push_back(std::move(type));
  }
}

// Of listed options only the work is a sum.
void SegmentSweep::add_sums(Type& type) const {
  if (stages_.listed()) {
    const std::vector<double>& work = stages_.listed()->work(type.number);
    for (size_t cut = 0; cut < type.work.size(); ++cut) {
      type.work[cut] = type.price * work[cut];
      type.rounding = std::max(type.rounding, kRounding * problem_.layers * std::abs(work[cut]));
    }
    return;
  }
  StageLoad sum;
  for (int l = 0; l < problem_.layers; ++l) {
    const size_t i = static_cast<size_t>(l) * problem_.types + type.number;
    add_layer(problem_, sum, l, type.number);
    type.serial[l + 1] = sum.serial_compute;
    type.parallel[l + 1] = sum.parallel_compute;
    type.work[l + 1] = kRate * type.price * (sum.serial_compute + sum.parallel_compute);
    if (l > 0) type.receive[l] = problem_.receive[i];
    if (l + 1 < problem_.layers) type.send[l + 1] = problem_.send[i];
  }
  type.rounding = kRounding * problem_.layers * (sum.serial_compute + sum.parallel_compute);
}

// Price of the work up to a cut.
double SegmentSweep::position(const Type& type, int cut) const { return direction_ * type.work[cut]; }

// Lower bound of the weight of a stage that spends this time on computing, or on transfer; infinite if no
// devices reach the time.
double SegmentSweep::weight_of(const Type& type, double serial, double parallel) const {
  const double spare = high_ * (1 + kTolerance) - serial;
  if (!(spare > 0)) return kInfinity;
  const double least = parallel / spare * kRate;
  if (least > type.most_devices) return kInfinity;
  const int devices = fewest_devices(least);
  return type.price * std::max(devices * low_, (devices * serial + parallel) * kRate);
}

// Lower bounds of the compute of a stage's layers, serial and parallel.
double SegmentSweep::serial(const Type& type, int first, int last) const {
  return std::max(0.0, type.serial[last + 1] - type.serial[first] - type.rounding);
}
double SegmentSweep::parallel(const Type& type, int first, int last) const {
  return std::max(0.0, type.parallel[last + 1] - type.parallel[first] - type.rounding);
}

double SegmentSweep::compute_weight(const Type& type, int first, int last) const {
  if (listed_) {
    const ListedStages::Bounds& bound = listed_->bounds(first, last, type.number);
    return weight_of(type, bound.serial, bound.parallel);
  }
  return weight_of(type, serial(type, first, last), parallel(type, first, last));
}

double SegmentSweep::transfer_weight(const Type& type, double seconds) const {
  const double parallel = seconds * type.parallel_transfer;
  return weight_of(type, (seconds - parallel) * kRate, parallel * kRate);
}

double SegmentSweep::weight(const Arc& arc) const {
  return problem_.price[arc.type] * arc.devices * std::clamp(arc.time, low_, high_);
}

void SegmentSweep::begin(std::vector<Least>& totals, int cut, double direction) {
  direction_ = direction;
  totals.assign(problem_.layers + 1, {});
  totals[cut].best = 0;
  for (Type& type : types_) type.open.clear();
  open_paths(totals, cut);
}

void SegmentSweep::open_paths(const std::vector<Least>& totals, int cut) {
  work_ += types_.size() * kTypeWork;
  check_stop_often(1 + (work_ - checked_) / kStageWork);
  checked_ = work_;
  for (Type& type : types_) {
    const double total = totals[cut].without(type.number);
    if (total == kInfinity) continue;
    const Open path{total - position(type, cut), total, cut};
    auto& open = type.open;
    auto place = open.end();
    if (!open.empty() && open.back().key < path.key)
      place = std::upper_bound(open.begin(), open.end(), path,
                               [](const Open& a, const Open& b) { return a.key > b.key; });
    open.insert(place, path);
  }
}

// Lower bound of the weight of a stage, given that of its computing.
double SegmentSweep::least_weight(const Type& type, int first, int last, double computing) const {
  if (listed_) {
    const ListedStages::Bounds& bound = listed_->bounds(first, last, type.number);
    return std::max(computing, weight_of(type, bound.other_serial, bound.other_parallel));
  }
  const double seconds = type.receive[first] + type.send[last + 1];
  if (problem_.overlap) return std::max(computing, transfer_weight(type, seconds));
  const double parallel = seconds * type.parallel_transfer;
  return weight_of(type, (serial(type, first, last) + seconds - parallel) * kRate,
                   (this->parallel(type, first, last) + parallel) * kRate);
}

// Asks for what is read of the stage between a cut and a path.
void SegmentSweep::prefetch(const Type& type, int cut, const Open& path) const {
  const int first = std::min(cut, path.cut), last = std::max(cut, path.cut) - 1;
  listed_->prefetch(first, last, type.number, path.devices);
}

// Calls `take` with the stages of a type between a cut and the paths, in the order of their keys, while the
// total with one may be less than `most`. Paths that are too far for any stage of the type are removed.
template <class Most, class Take>
void SegmentSweep::walk(Type& type, int cut, const Most& most, const Take& take) {
  auto& open = type.open;
  double limit = most();
  const double work = position(type, cut) - type.price * type.rounding;
  if (open.empty() || open.back().key + work >= limit) return;
  const double near = transfer_weight(type, direction_ > 0 ? type.send[cut] : type.receive[cut]);
  for (size_t i = open.size(); i-- > 0 && open[i].key + work < limit;) {
    const double total = open[i].total, rest = limit - total;
    work_ += kOpenWork;
    if (listed_ && i >= kAhead) prefetch(type, cut, open[i - kAhead]);
    if (near >= rest) continue;
    const int first = std::min(cut, open[i].cut), last = std::max(cut, open[i].cut) - 1;
    const double computing = compute_weight(type, first, last);
    if ((computing < kInfinity || listed_) &&
        (computing >= rest || least_weight(type, first, last, computing) >= rest))
      continue;
    work_ += kStageWork;
    const auto [arc, too_long] = stages_.find(first, last, type.number, high_);
    if (too_long) {
      open.erase(open.begin() + static_cast<std::ptrdiff_t>(i));
      continue;
    }
    if (!arc) continue;
    open[i].devices = arc->devices;
    if (total + weight(*arc) >= limit) continue;
    take(*arc, total + weight(*arc));
    limit = most();
  }
}

// The best stages that end at a cut are often those that end at the previous one, extended.
void SegmentSweep::lengthen_best(int from, int to) {
  for (const int through : {start_[from].arc, start_[from].second_arc}) {
    if (through < 0) continue;
    const int first = through / problem_.types, t = through % problem_.types;
    lengthen(first, to - 1, t);
  }
}

void SegmentSweep::lengthen(int first, int last, int type) {
  const auto arc = stages_.find(first, last, type, high_).arc;
  const double total = arc ? start_[first].without(type) + weight(*arc) : kInfinity;
  if (!(total < most_ - tails_[last + 1].without(type))) return;
  start_[last + 1].offer(total, first * problem_.types + type, neighbours_alike_ ? -1 : type);
}

// The total below which a stage of the type matters at a cut.
double SegmentSweep::least_of(const Least& here, const Type& type) const {
  return here.type == apart(type) ? here.best : here.second;
}

double SegmentSweep::from_start(double low, double high, int stride) {
  return from_start(low, high, kInfinity, std::vector<Least>(problem_.layers + 1, kNothing), stride);
}

double SegmentSweep::from_start(double low, double high, double most, std::vector<Least> tails, int stride) {
  low_ = low;
  high_ = high;
  most_ = most;
  stride_ = stride;
  tails_ = std::move(tails);
  begin(start_, 0, 1);
  for (int before = 0, cut = 1; cut <= problem_.layers; ++cut) {
    if (!is_cut(cut)) continue;
    lengthen_best(before, cut);
    Least& here = start_[cut];
    for (Type& type : types_) {
      const double rest = most_ - tails_[cut].without(type.number);
      const auto limit = [&] { return std::min(rest, least_of(here, type)); };
      walk(type, cut, limit, [&](const Arc& arc, double total) {
        here.offer(total, arc.first * problem_.types + arc.type, apart(type));
      });
    }
    open_paths(start_, cut);
    before = cut;
  }
  return start_.back().best;
}

StageGraph SegmentSweep::path() const {
  std::vector<Arc> arcs;
  int label = -2;
  for (int cut = problem_.layers; cut > 0;) {
    const int through = start_[cut].arc_without(label), first = through / problem_.types,
              t = through % problem_.types;
    arcs.push_back(*stages_.find(first, cut - 1, t, high_).arc);
    label = neighbours_alike_ ? -2 : t;
    cut = first;
  }
  std::reverse(arcs.begin(), arcs.end());
  return StageGraph(problem_.layers, std::move(arcs), high_);
}

std::optional<StageGraph> SegmentSweep::promising(double most, size_t most_arcs) {
  std::vector<Arc> arcs;
  begin(end_, problem_.layers, -1);
  for (int cut = problem_.layers - 1; cut >= 0; --cut) {
    if (!is_cut(cut) || start_[cut].best == kInfinity) continue;
    Least& here = end_[cut];
    for (Type& type : types_) {
      const double rest = most * (1 + kTolerance) - start_[cut].without(type.number);
      const auto limit = [&] { return arcs.size() <= most_arcs ? rest : std::min(rest, least_of(here, type)); };
      walk(type, cut, limit, [&](const Arc& arc, double total) {
        here.offer(total, 0, apart(type));
        if (arcs.size() <= most_arcs) arcs.push_back(arc);
      });
    }
    open_paths(end_, cut);
  }
  if (arcs.size() > most_arcs) return std::nullopt;
  std::reverse(arcs.begin(), arcs.end());
  return StageGraph(problem_.layers, std::move(arcs), high_);
}

}  // namespace stageplan
