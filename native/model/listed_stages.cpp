#include "model/listed_stages.h"

#include <cmath>
#include <limits>

#include "common/stop.h"

namespace stageplan {
namespace {

constexpr double kRounding = 1e-12;       // of devices times time
constexpr std::uint32_t kNear = 16;       // options that are read before the bounds say where to go on
constexpr double kBelow = 1 - 1e-15;      // with which rounding leaves a bound below what it bounds
constexpr double kRate = 1 - kTolerance;  // margin for the rounding of sums

// The least of value(0) to value(size - 1), several at a time.
template <class Value>
double least_of(size_t size, const Value& value) {
  double least[4] = {kInfinity, kInfinity, kInfinity, kInfinity};
  size_t i = 0;
  for (; i + 4 <= size; i += 4)
    for (size_t k = 0; k < 4; ++k) least[k] = std::min(least[k], value(i + k));
  for (; i < size; ++i) least[0] = std::min(least[0], value(i));
  return std::min(std::min(least[0], least[1]), std::min(least[2], least[3]));
}

// Whether none of 0 to size - 1 is so. Counted in floating point, as vectors of doubles are compared.
template <class IsSo>
bool none(size_t size, const IsSo& is_so) {
  double count[4] = {};
  size_t i = 0;
  for (; i + 4 <= size; i += 4)
    for (size_t k = 0; k < 4; ++k) count[k] += is_so(i + k) ? 1.0 : 0.0;
  for (; i < size; ++i) count[0] += is_so(i) ? 1.0 : 0.0;
  return count[0] + count[1] + count[2] + count[3] == 0;
}

bool all_fall(const double* values, size_t size) {
  return none(size - 1, [&](size_t i) { return values[i + 1] >= values[i]; });
}

}  // namespace

// Options of a stage that are faster than all with fewer devices; those of each number of devices once.
struct ListedStages::Envelope {
  std::vector<double> times, devices, share;  // share: 1 / devices
  const double* time = nullptr;               // `times`, or where the options are
  size_t size = 0, counted = 0;               // `counted`: the first of `devices` that are 1, 2, ...

  explicit Envelope(size_t most) : times(most), devices(most), share(most) {}

  void clear() {
    time = times.data();
    size = 0;
  }

  void add(int count, double seconds) {
    const bool again = size > 0 && devices[size - 1] == count;
    const size_t i = again ? size - 1 : size++;
    times[i] = seconds;
    if (devices[i] == count) return;  // nearly always: as of the stage before
    counted = std::min(counted, i);
    set_devices(i, count);
  }

  // All options of a stage, of 1, 2, ... devices.
  void set_all(const double* seconds, size_t count) {
    time = seconds;
    size = count;
    for (; counted < count; ++counted) set_devices(counted, static_cast<int>(counted) + 1);
  }

  void set_devices(size_t i, int count) {
    devices[i] = count;
    share[i] = 1.0 / count;
  }

  bool work_grows() const {
    if (size < 2) return true;
    return none(size - 1, [&](size_t i) {
      return devices[i + 1] * time[i + 1] < devices[i] * time[i] * (1 - kRounding);
    });
  }

  double least_work() const {
    return least_of(size, [&](size_t i) { return devices[i] * time[i]; });
  }

  // From one option to another that has fewer devices, as 1 / devices grows.
  double slope(size_t from, size_t to) const { return (time[to] - time[from]) / (share[to] - share[from]); }

  // What is left of each time, at least, where 1 / devices costs as much as the slope.
  double intercept(double slope) const {
    return least_of(size, [&](size_t i) { return time[i] * kBelow - slope * share[i]; });
  }

  // Sets serial + parallel / k to at most the time of each option, for a line through one end of them.
  void bound(double slope, double& serial, double& parallel) const {
    serial = intercept(slope);
    parallel = slope;
    if (serial >= 0) return;
    serial = 0;
    parallel = least_work() * kBelow;
  }

  // Whether the lines are the times, but for rounding.
  bool on_lines(const Bounds& bound) const {
    return none(size, [&](size_t i) {
      const double line = bound.serial + bound.parallel * share[i];
      const double other = bound.other_serial + bound.other_parallel * share[i];
      return time[i] > (line > other ? line : other) * kOnLine;
    });
  }
};

ListedStages::ListedStages(const Problem& problem)
    : listed_(problem.columns->listed),
      layers_(problem.layers),
      types_(problem.types),
      most_devices_(problem.max_devices_per_stage),
      examples_(std::ceil(problem.columns->batch / problem.columns->microbatches)),
      capacity_(problem.capacity),
      all_fit_(types_, listed_.memory.empty() && listed_.activations.empty()),
      by_lines_(problem.overlap),
      bounds_(StageMatrix::count(layers_) * types_),
      work_(types_, std::vector<double>(layers_ + 1, kInfinity)) {
  std::uint32_t least = std::numeric_limits<std::uint32_t>::max();
  for (size_t at = 0; at + 1 < listed_.begin.size(); ++at) {
    most_options_ = std::max(most_options_, listed_.begin[at + 1] - listed_.begin[at]);
    least = std::min(least, listed_.begin[at + 1] - listed_.begin[at]);
  }
  if (least == most_options_) row_size_ = most_options_;
  Envelope options(most_options_);
  for (size_t first = 0; first < layers_; ++first) {
    begin_work(first);
    for (size_t last = first; last < layers_; ++last)
      for (size_t type = 0; type < types_; ++type) {
        read(of(first, last, type), type, options);
        work_grows_ = work_grows_ && options.work_grows();
        if (work_grows_) add_bounds(first, last, type, options);
      }
  }
  begin_work(layers_);
  longest_ = longest_ > 0 ? longest_ * (1 + kTolerance) : 1;
  by_lines_ = by_lines_ && work_grows_ && counted_ && fall_;
  if (!work_grows_)
    bounds_ = {};
  else if (StageMatrix::fits(problem))
    make_matrix();
}

bool ListedStages::in_memory(std::uint32_t i, int type) const {
  const double resident = listed_.memory.empty() ? 0 : listed_.memory[i];
  const double activations = listed_.activations.empty() ? 0 : listed_.activations[i];
  return meets(resident + activations * examples_, capacity_[type]);
}

std::uint32_t ListedStages::fastest(const Range& range, int type) const {
  if (fall_) return range.begin < range.end ? range.end - 1 : range.end;
  std::uint32_t best = range.end;
  for (std::uint32_t i = range.begin; i < range.end && devices(i, range) <= most_devices_; ++i)
    if ((best == range.end || seconds(i) < seconds(best)) && fits(i, type)) best = i;
  return best;
}

std::optional<std::uint32_t> ListedStages::reach(int first, int last, int type, double time) const {
  const Range range = of(first, last, type);
  std::uint32_t from = range.begin;
  if (work_grows_) {
    const Bounds& bound = bounds(first, last, type);
    const double least = bound.devices_for(time);
    if (!(least <= most_devices_)) return std::nullopt;
    const int devices = fewest_devices(least);
    from = at_devices(range, devices);
    if (by_lines_ && from < range.end && bound.time(devices) * kOnLine <= time) return from;
  }
  return within(from, range, type, time);
}

std::optional<std::uint32_t> ListedStages::reach_above(int devices, double slow, int first, int last, int type,
                                                       double time) const {
  const Range range = of(first, last, type);
  const std::uint32_t from = at_devices(range, least_above(devices, slow, time));
  const std::uint32_t near = std::min(range.end, from + kNear);
  for (std::uint32_t i = from; i < near; ++i)
    if (seconds(i) <= time) return within(i, range, type, time);
  return near < range.end ? reach(first, last, type, time) : std::nullopt;
}

std::optional<std::uint32_t> ListedStages::within(std::uint32_t from, const Range& range, int type,
                                                  double time) const {
  const std::uint32_t i = first_within(from, range, type, time);
  return i < range.end ? std::optional(i) : std::nullopt;
}

void ListedStages::read(const Range& range, int type, Envelope& options) {
  const std::uint32_t count = range.end - range.begin;
  check_stop_often(1 + count / 64);
  options.clear();
  const bool all_count = listed_.counted && all_fit_[type] && listed_.sync.empty() &&
                         count <= static_cast<std::uint32_t>(most_devices_);
  if (count > 0 && all_count && all_fall(&listed_.time[range.begin], count)) {
    options.set_all(&listed_.time[range.begin], count);
    longest_ = std::max(longest_, options.time[0]);
  } else {
    read_each(range, type, options);
  }
  fall_ = fall_ && options.size == count;
  if (!listed_.counted && count > 0)
    counted_ = counted_ && options.size == count && options.devices[count - 1] == count;
  by_lines_ = by_lines_ && (count == 0 || count == most_options_);
}

void ListedStages::read_each(const Range& range, int type, Envelope& options) {
  double fastest = kInfinity;
  for (std::uint32_t i = range.begin; i < range.end; ++i) {
    const double time = seconds(i);
    const int devices = listed_.devices_of(i, range.begin);
    longest_ = std::max(longest_, time);
    if (time >= fastest || devices > most_devices_ || !fits(i, type)) continue;
    fastest = time;
    options.add(devices, time);
  }
}

void ListedStages::add_bounds(size_t first, size_t last, size_t type, const Envelope& options) {
  if (options.size == 0) return;
  Bounds& bound = bounds_[at(first, last, type)];
  const double work = options.least_work();
  work_[type][last + 1] = std::min(work_[type][last + 1], work_[type][first] + work * kRate);
  if (options.size == 1) {
    bound = {0, work * kBelow, options.time[0] * kBelow, 0};
  } else {
    options.bound(options.slope(1, 0), bound.serial, bound.parallel);
    options.bound(options.slope(options.size - 1, options.size - 2), bound.other_serial, bound.other_parallel);
  }
  by_lines_ = by_lines_ && options.on_lines(bound);
}

void ListedStages::make_matrix() {
  auto matrix = std::make_shared<StageMatrix>(layers_, types_);
  if (by_lines_) matrix->most_devices = most_options();
  for (size_t type = 0; type < types_; ++type)
    for (size_t first = 0; first < layers_; ++first)
      for (size_t last = first, i = matrix->row(type, first); last < layers_; ++last, ++i) {
        const Bounds& bound = bounds_[at(first, last, type)];
        matrix->serial_compute[i] = bound.serial;
        matrix->parallel_compute[i] = bound.parallel;
        matrix->serial_transfer[i] = bound.other_serial;
        matrix->parallel_transfer[i] = bound.other_parallel;
      }
  matrix_ = std::move(matrix);
}

// Completes the work up to a cut, all stages before which are known: as much as with the least of those that
// end there. Where none does, no stage has less work for the layer.
void ListedStages::begin_work(size_t cut) {
  for (std::vector<double>& work : work_) {
    if (cut == 0) work[cut] = 0;
    if (work[cut] == kInfinity) work[cut] = work[cut - 1];
  }
}

}  // namespace stageplan
