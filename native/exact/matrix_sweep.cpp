#include "exact/matrix_sweep.h"

#include <algorithm>

#include "common/stop.h"

namespace stageplan {
namespace {

constexpr double kRate = 1 - kTolerance;  // margin for rounding: bounds stay valid

// The least integer that is at least x, which is at most 2^51; without a call, so that loops are vectorised.
inline double round_up(double x) {
  constexpr double kWhole = 6755399441055744.0;  // 1.5 * 2^52
  const double near = (x + kWhole) - kWhole;
  return near < x ? near + 1 : near;
}

// Lower bound of the devices that a part of a stage's time needs.
inline double devices_of(double serial, double parallel, double time) {
  const double spare = time - serial;
  return spare > 0 ? parallel / spare : kInfinity;
}

double least_sum(const double* a, const double* b, size_t count) {
  double least[4] = {kInfinity, kInfinity, kInfinity, kInfinity};
  size_t i = 0;
  for (; i + 4 <= count; i += 4)
    for (size_t k = 0; k < 4; ++k) least[k] = std::min(least[k], a[i + k] + b[i + k]);
  for (; i < count; ++i) least[0] = std::min(least[0], a[i] + b[i]);
  return std::min(std::min(least[0], least[1]), std::min(least[2], least[3]));
}

}  // namespace

MatrixSweep::MatrixSweep(const Problem& problem, const StageMatrix& stages)
    : problem_(problem),
      stages_(stages),
      neighbours_alike_(problem.neighbours_may_share_type()),
      devices_(stages.stages * problem.types),
      weight_(devices_.size()),
      least_(problem.types),
      ending_(problem.types * (stages.layers + 1)),
      start_(ending_.size()),
      end_(ending_.size()) {
  for (int type = 0; type < problem.types; ++type)
    if (problem.limit[type] >= 1) types_.push_back(type);
}

// A margin of twice the tolerance covers the rounding of stage times, even if nearly all of them is serial.
void MatrixSweep::reach(double time) {
  time_ = time;
  const double margin = time * (1 + 2 * kTolerance);
  for (const size_t type : types_) {
    const size_t at = type * stages_.stages;
    const double max_devices = std::min(stages_.most_devices, most_devices(problem_, static_cast<int>(type)));
    const double max_memory = problem_.capacity[type] * (1 + kTolerance);
    const double* const serial = &stages_.serial_compute[at];
    const double* const parallel = &stages_.parallel_compute[at];
    const double* const serial_transfer = &stages_.serial_transfer[at];
    const double* const parallel_transfer = &stages_.parallel_transfer[at];
    const double* const memory = stages_.memory.data();
    double* const devices = &devices_[at];
    check_stop_often(1 + stages_.stages / 16);
    for (size_t i = 0; i < stages_.stages; ++i) {
      const double computing = devices_of(serial[i], parallel[i], margin);
      const double moving = devices_of(serial_transfer[i], parallel_transfer[i], margin);
      const double whole = round_up((computing > moving ? computing : moving) * kRate);
      const double least = whole > 1 ? whole : 1;
      devices[i] = ((least <= max_devices) & (memory[i] <= max_memory)) ? least : kInfinity;
    }
  }
}

void MatrixSweep::weigh_devices() {
  for (const size_t type : types_) {
    const double price = problem_.price[type];
    const double* const devices = &devices_[type * stages_.stages];
    double* const weight = &weight_[type * stages_.stages];
    for (size_t i = 0; i < stages_.stages; ++i)
      weight[i] = devices[i] < kInfinity ? price * devices[i] : kInfinity;
  }
}

// k times the time of k devices never falls as k grows.
void MatrixSweep::weigh(double low) {
  for (const size_t type : types_) {
    const size_t at = type * stages_.stages;
    const double price = problem_.price[type] * kRate;
    const double* const serial = &stages_.serial_compute[at];
    const double* const parallel = &stages_.parallel_compute[at];
    const double* const serial_transfer = &stages_.serial_transfer[at];
    const double* const parallel_transfer = &stages_.parallel_transfer[at];
    const double* const devices = &devices_[at];
    double* const weight = &weight_[at];
    for (size_t i = 0; i < stages_.stages; ++i) {
      const double computing = devices[i] * serial[i] + parallel[i];
      const double moving = devices[i] * serial_transfer[i] + parallel_transfer[i];
      const double longer = computing > moving ? computing : moving;
      const double least = devices[i] * low;
      weight[i] = devices[i] < kInfinity ? price * (longer > least ? longer : least) : kInfinity;
    }
  }
}

// The totals at a cut that a stage of each type may join: neighbours of one type would merge.
void MatrixSweep::join(Totals& totals, size_t cut) const {
  double best = kInfinity, second = kInfinity;
  size_t best_type = 0;
  for (const size_t type : types_) {
    const double least = least_[type];
    if (least < best) {
      second = best;
      best = least;
      best_type = type;
    } else if (least < second) {
      second = least;
    }
  }
  for (const size_t type : types_)
    of_type(totals, type)[cut] = type == best_type && !neighbours_alike_ ? second : best;
}

void MatrixSweep::from_start() {
  const size_t layers = stages_.layers;
  std::fill(ending_.begin(), ending_.end(), kInfinity);
  for (const size_t type : types_) of_type(start_, type)[0] = 0;
  for (size_t first = 0;; ++first) {
    check_stop_often(1 + types_.size() * (layers - first) / 64);
    for (const size_t type : types_) {
      const double before = of_type(start_, type)[first];
      const double* const weight = &weight_[stages_.row(type, first)];
      double* const ending = of_type(ending_, type) + first + 1;
      for (size_t i = 0; i < layers - first; ++i) {
        const double total = before + weight[i];
        ending[i] = total < ending[i] ? total : ending[i];
      }
      least_[type] = ending[0];
    }
    if (first + 1 == layers) return;
    join(start_, first + 1);
  }
}

void MatrixSweep::to_end() {
  const size_t layers = stages_.layers;
  for (const size_t type : types_) of_type(end_, type)[layers] = 0;
  for (size_t first = layers; first-- > 0;) {
    check_stop_often(1 + types_.size() * (layers - first) / 64);
    for (const size_t type : types_)
      least_[type] =
          least_sum(&weight_[stages_.row(type, first)], of_type(end_, type) + first + 1, layers - first);
    join(end_, first);
  }
}

std::vector<Arc> MatrixSweep::cheapest_path() {
  weigh_devices();
  from_start();
  std::vector<Arc> path;
  size_t before = problem_.types;  // of the stage that follows
  for (size_t cut = stages_.layers; cut > 0;) {
    size_t type = problem_.types;
    for (const size_t t : types_)
      if ((t != before || neighbours_alike_) && (type == static_cast<size_t>(problem_.types) ||
                                                 of_type(ending_, t)[cut] < of_type(ending_, type)[cut]))
        type = t;
    const double total = of_type(ending_, type)[cut];
    if (total == kInfinity) return {};
    size_t first = 0, at = 0;
    do at = stages_.row(type, first) + cut - 1 - first;
    while (of_type(start_, type)[first] + weight_[at] != total && ++first < cut);
    path.push_back({static_cast<int>(first), static_cast<int>(cut) - 1, static_cast<int>(type),
                    static_cast<int>(devices_[at]), 0});
    cut = first;
    before = type;
  }
  std::reverse(path.begin(), path.end());
  return path;
}

std::vector<Arc> MatrixSweep::promising(double low, double most) {
  weigh(low);
  to_end();
  std::vector<Arc> stages;
  stages.reserve(stages_.stages);
  double total = kInfinity;
  for (const size_t type : types_) total = std::min(total, of_type(end_, type)[0]);
  if (!(total < most)) return stages;
  from_start();
  const int layers = problem_.layers;
  for (int first = 0; first < layers; ++first)
    for (const size_t type : types_) {
      const double rest = most - of_type(start_, type)[first];
      const size_t row = stages_.row(type, first);
      const double* const after = of_type(end_, type) + first + 1;
      for (int i = 0; i < layers - first; ++i)
        if (weight_[row + i] + after[i] <= rest && weight_[row + i] < kInfinity)
          stages.push_back({first, first + i, static_cast<int>(type), static_cast<int>(devices_[row + i]), 0});
    }
  return stages;
}

}  // namespace stageplan
