#include "model/options.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <set>
#include <tuple>
#include <utility>

#include "common/stop.h"
#include "model/listed_stages.h"

namespace stageplan {
// Sums over the layers of a stage on a column.
struct Options::Sums {
  double serial, parallel, transfer, memory, sharded, activations, workspace, gradients, update;
  int unsupported;
};

Options::Options(const Problem& problem)
    : problem_(problem),
      columns_(*problem.columns),
      bytes_(problem),
      columns_of_(problem.types),
      prefix_(static_cast<size_t>(problem.layers + 1) * columns_.count()) {
  const int count = columns_.count();
  for (int c = 0; c < count; ++c) columns_of_[columns_.type[c]].push_back(c);
  for (int l = 0; l < problem.layers; ++l) {
    check_stop_often();
    for (int c = 0; c < count; ++c) {
      const size_t i = static_cast<size_t>(l) * count + c;
      Prefix& sum = prefix_[i + count];
      sum = prefix_[i];
      if (columns_.compute[i] == kInfinity) {
        ++sum.unsupported;
      } else {
        sum.serial.add(columns_.compute[i] * (1 - columns_.compute_parallel[i]));
        sum.parallel.add(columns_.compute[i] * columns_.compute_parallel[i]);
      }
      sum.memory.add(columns_.memory[i]);
      sum.sharded.add(columns_.sharded[i]);
      sum.activations.add(columns_.activations[i]);
      sum.gradients.add(columns_.gradients[i]);
      sum.update.add(columns_.update[i]);
    }
  }
  workspace_.push_back(columns_.workspace);
  for (int length = 2; length <= problem.layers; length *= 2) {
    const std::vector<double>& half = workspace_.back();
    std::vector<double> longer(half);
    const size_t shift = static_cast<size_t>(length / 2) * count;
    for (size_t i = 0; i + shift < half.size(); ++i) longer[i] = std::max(half[i], half[i + shift]);
    workspace_.push_back(std::move(longer));
  }
  find_groups();
  if (!columns_.listed.empty() && columns_.schedule == Schedule::none)
    listed_stages_ = std::make_shared<const ListedStages>(problem);
  const auto nothing = [](double bytes) { return bytes == 0; };
  const bool no_reduce = std::all_of(columns_.gradients.begin(), columns_.gradients.end(), nothing);
  times_fall_ =
      columns_.schedule == Schedule::none && !columns_.same_replicas && (no_reduce || !columns_.listed.empty());
}

void Options::find_groups() {
  std::set<std::pair<int, int>> groups;
  const auto add = [&](int column, int replicas) {
    groups.emplace(columns_.same_strategy ? columns_.strategy[column] : -1,
                   columns_.same_replicas ? replicas : -1);
  };
  const ListedOptions& listed = columns_.listed;
  if (listed.empty()) {
    for (int c = 0; c < columns_.count(); ++c)
      for (int r = 1; r <= (columns_.same_replicas ? max_replicas(c) : 1); ++r)
        if (may_share(r)) add(c, r);
  } else if (columns_.same_strategy || columns_.same_replicas) {
    for (int type = 0; type < problem_.types; ++type)
      for (size_t stage = type; stage + 1 < listed.begin.size(); stage += problem_.types)
        for (size_t i = listed.begin[stage]; i < listed.begin[stage + 1]; ++i)
          add(this->listed(i, listed.begin[stage], type).column,
              this->listed(i, listed.begin[stage], type).replicas);
  } else {
    add(0, 1);
  }
  for (const auto& [strategy, replicas] : groups) groups_.push_back({strategy, replicas});
}

int Options::in_flight(int stages) const {
  if (columns_.schedule == Schedule::none) return 1;
  return columns_.schedule == Schedule::gpipe ? columns_.microbatches : std::min(stages, columns_.microbatches);
}

OptionGroup Options::group_of(const Option& option) const {
  return {columns_.same_strategy ? columns_.strategy[option.column] : -1,
          columns_.same_replicas ? option.replicas : -1};
}

size_t Options::arc(int first, int last, int type) const {
  const size_t row = static_cast<size_t>(first) * (2 * static_cast<size_t>(problem_.layers) - first + 1) / 2;
  return (row + last - first) * problem_.types + type;
}

double Options::transfer(int first, int last, int column) const {
  const size_t count = columns_.count();
  double seconds = bytes_(first, last) / problem_.bandwidth[columns_.type[column]];
  if (last + 1 < problem_.layers) seconds += columns_.send[last * count + column];
  if (first > 0) seconds += columns_.receive[first * count + column];
  return seconds;
}

double Options::workspace(int first, int last, int column) const {
  const size_t count = columns_.count(), k = std::bit_width(static_cast<unsigned>(last - first + 1)) - 1;
  const std::vector<double>& maxima = workspace_[k];
  return std::max(maxima[first * count + column], maxima[(last + 1 - (size_t{1} << k)) * count + column]);
}

Options::Sums Options::sums(int first, int last, int column) const {
  const size_t count = columns_.count();
  const Prefix &from = prefix_[first * count + column], &to = prefix_[(last + 1) * count + column];
  return {.serial = to.serial - from.serial,
          .parallel = to.parallel - from.parallel,
          .transfer = transfer(first, last, column),
          .memory = to.memory - from.memory,
          .sharded = to.sharded - from.sharded,
          .activations = to.activations - from.activations,
          .workspace = workspace(first, last, column),
          .gradients = to.gradients - from.gradients,
          .update = to.update - from.update,
          .unsupported = to.unsupported - from.unsupported};
}

// More replicas than examples in a microbatch would idle; more devices than available are useless.
int Options::max_replicas(int column) const {
  const int degree = columns_.degree[column];
  const int stated = problem_.max_devices_per_stage;
  const double max_devices = std::min<double>(stated < kMaxDevices ? stated : kMaxOptionDevices,
                                              problem_.limit[columns_.type[column]]);
  double replicas = std::max(1.0, std::floor(max_devices / degree));
  if (columns_.schedule != Schedule::none)
    replicas = std::min(replicas, columns_.batch / columns_.microbatches);
  return static_cast<int>(replicas);
}

OptionParts Options::parts(const Sums& sums, int column, int replicas) const {
  const int type = columns_.type[column];
  const double examples = columns_.batch / columns_.microbatches;  // of a microbatch
  const double fullest = std::ceil(examples / replicas);
  const double share = columns_.schedule != Schedule::none ? fullest / examples : 1.0 / replicas;
  const double beta = problem_.transfer_parallel[type];
  const int devices = columns_.degree[column] * replicas;
  const double rate = devices <= columns_.machine[type] ? columns_.link[type] : columns_.network[type];
  const double reduce = 2.0 * (replicas - 1) / replicas * sums.gradients / rate;
  return {.compute = sums.serial + sums.parallel * share,
          .transfer = sums.transfer * (1 - beta) + sums.transfer * beta * share,
          .sync = (reduce + sums.update) / columns_.batch,
          .memory = sums.memory + sums.sharded / replicas + fullest * sums.workspace,
          .flight = fullest * sums.activations};
}

Option Options::make(const Sums& sums, int column, int replicas) const {
  const bool scheduled = columns_.schedule != Schedule::none;
  const OptionParts part = parts(sums, column, replicas);
  const double busy = problem_.overlap ? std::max(part.compute, part.transfer) : part.compute + part.transfer;
  return {.devices = columns_.degree[column] * replicas,
          .column = column,
          .replicas = replicas,
          .time = scheduled ? busy : busy + part.sync,
          .pass = scheduled ? part.compute + part.transfer : 0,
          .sync = scheduled ? part.sync : 0,
          .memory = part.memory,
          .flight = part.flight,
          .violation = 0};
}

OptionParts Options::parts(int first, int last, const Option& option) const {
  if (!columns_.listed.empty())
    return {.compute = option.time,
            .transfer = columns_.schedule == Schedule::none ? 0 : option.pass - option.time,
            .sync = option.sync,
            .memory = option.memory,
            .flight = option.flight};
  return parts(sums(first, last, option.column), option.column, option.replicas);
}

void Options::add_column(int first, int last, int column, int in_flight, std::vector<Option>& options) const {
  const Sums total = sums(first, last, column);
  const double capacity = problem_.capacity[columns_.type[column]];
  const int allowed = max_replicas(column), stated = problem_.max_devices_per_stage;
  if (columns_.degree[column] > stated) return;
  for (int replicas = 1; replicas <= allowed; ++replicas) {
    if (!may_share(replicas)) continue;
    Option option = make(total, column, replicas);
    option.violation = total.unsupported + excess(option.memory + in_flight * option.flight, capacity);
    options.push_back(option);
  }
}

// Without a schedule, the all-reduce is a part of the time.
Option Options::listed(size_t i, size_t begins, int type) const {
  const ListedOptions& listed = columns_.listed;
  const bool scheduled = columns_.schedule != Schedule::none;
  const auto value = [i](const Shared<double>& values) { return values.empty() ? 0 : values[i]; };
  const double sync = value(listed.sync), time = listed.time[i];
  const int devices = listed.devices_of(i, begins);
  return {.devices = devices,
          .column = listed.column.empty() ? columns_of_[type].front() : listed.column[i],
          .replicas = listed.counted            ? devices
                      : listed.replicas.empty() ? 1
                                                : listed.replicas[i],
          .time = scheduled ? time : time + sync,
          .pass = !scheduled            ? 0
                  : listed.pass.empty() ? time
                                        : listed.pass[i],
          .sync = scheduled ? sync : 0,
          .memory = value(listed.memory),
          .flight = value(listed.activations) * std::ceil(columns_.batch / columns_.microbatches),
          .violation = 0};
}

void Options::add_listed(int first, int last, int type, int in_flight, std::vector<Option>& options) const {
  const auto& begin = columns_.listed.begin;
  const size_t at = arc(first, last, type);
  for (size_t i = begin[at]; i < begin[at + 1]; ++i) {
    Option option = listed(i, begin[at], type);
    if (option.devices > problem_.max_devices_per_stage) break;
    option.violation = excess(option.memory + in_flight * option.flight, problem_.capacity[type]);
    options.push_back(option);
  }
}

namespace {

bool dominates(const Option& a, const Option& b) {
  return a.devices <= b.devices && a.time <= b.time && a.pass <= b.pass && a.sync <= b.sync && a.fits >= b.fits;
}

}  // namespace

// Keeps of each group the non-dominated options of least violation.
void Options::keep_best(std::vector<Option>& options) const {
  const auto key = [&](const Option& o) {
    const OptionGroup group = group_of(o);
    return std::tuple(group.strategy, group.replicas, o.violation, o.devices, o.time, o.pass, o.sync);
  };
  std::stable_sort(options.begin(), options.end(),
                   [&](const Option& a, const Option& b) { return key(a) < key(b); });
  const bool one_time = columns_.schedule == Schedule::none;  // pass and sync are 0
  size_t kept = 0, begin = 0;                                 // of the group
  for (size_t i = 0; i < options.size(); ++i) {
    if (i > 0 && !(group_of(options[i]) == group_of(options[begin]))) begin = kept;
    const Option option = options[i];
    const auto latest = std::make_reverse_iterator(options.begin() + static_cast<std::ptrdiff_t>(kept));
    auto end = std::make_reverse_iterator(options.begin() + static_cast<std::ptrdiff_t>(begin));
    if (latest != end && option.violation > latest->violation) continue;
    if (one_time && latest != end) end = latest + 1;  // the latest is the fastest so far
    if (std::any_of(latest, end, [&](const Option& other) { return dominates(other, option); })) continue;
    options[kept++] = option;
  }
  options.resize(kept);
  std::stable_sort(options.begin(), options.end(),
                   [](const Option& a, const Option& b) { return a.devices < b.devices; });
}

void Options::add_all(int first, int last, int type, int in_flight, std::vector<Option>& options) const {
  options.clear();
  if (!columns_.listed.empty())
    add_listed(first, last, type, in_flight, options);
  else
    for (const int column : columns_of_[type]) add_column(first, last, column, in_flight, options);
}

void Options::list(int first, int last, int type, int in_flight, std::vector<Option>& options) const {
  add_all(first, last, type, in_flight, options);
  keep_best(options);
}

void Options::list_fitting(int first, int last, int type, std::vector<Option>& options) const {
  add_all(first, last, type, 1, options);
  std::erase_if(options, [](const Option& option) { return option.violation > 0; });
  for (Option& option : options) option.fits = fits(option, type);
  keep_best(options);
}

namespace {

// The first number from `low` to `high` from which on `holds` is true; high + 1 where it never is.
template <class Holds>
int first_that(int low, int high, Holds holds) {
  int step = 1, end = low;  // all before `low` are false
  while (end <= high && !holds(end)) {
    low = end + 1;
    end += step;
    step *= 2;
  }
  end = std::min(end, high + 1);
  while (low < end) {
    const int middle = low + (end - low) / 2;
    if (holds(middle))
      end = middle;
    else
      low = middle + 1;
  }
  return end;
}

}  // namespace

// The fastest of those with as few devices.
Option Options::first_listed(int first, int last, int type, const OptionGroup& group, double time,
                             int devices) const {
  const auto& begin = columns_.listed.begin;
  const size_t at = arc(first, last, type);
  Option best{};
  for (size_t i = begin[at]; i < begin[at + 1]; ++i) {
    if (columns_.listed.devices_of(i, begin[at]) < devices || columns_.listed.time[i] > time) continue;
    const Option option = listed(i, begin[at], type);
    if (option.devices > problem_.max_devices_per_stage) break;
    if (best.devices > 0 && option.devices > best.devices) break;
    if (best.devices > 0 && option.time >= best.time) continue;
    if (option.time <= time && in_group(option.column, group) &&
        meets(option.memory + option.flight, problem_.capacity[type]))
      best = option;
  }
  best.fits = 1;
  return best;
}

double Options::least_listed(int first, int last, int type, const OptionGroup& group, double low,
                             int devices) const {
  const auto& begin = columns_.listed.begin;
  const size_t at = arc(first, last, type);
  double least = kInfinity;
  for (size_t i = begin[at]; i < begin[at + 1]; ++i) {
    if (columns_.listed.devices_of(i, begin[at]) < devices) continue;
    const Option option = listed(i, begin[at], type);
    if (option.time >= low && in_group(option.column, group)) least = std::min(least, option.time);
  }
  return least;
}

Option Options::first_within(int first, int last, int type, const OptionGroup& group, double time,
                             int devices) const {
  if (!columns_.listed.empty()) return first_listed(first, last, type, group, time, devices);
  Option best{};
  for (const int column : columns_of_[type]) {
    if (!in_group(column, group)) continue;
    const Sums total = sums(first, last, column);
    if (total.unsupported > 0) continue;
    const int most = max_replicas(column);
    const int replicas = first_that(first_replicas(column, devices), most, [&](int r) {
      const Option option = make(total, column, r);
      return option.time <= time && meets(option.memory + option.flight, problem_.capacity[type]);
    });
    if (replicas > most) continue;
    const Option option = make(total, column, replicas);
    if (best.devices == 0 || std::tie(option.devices, option.time) < std::tie(best.devices, best.time))
      best = option;
  }
  best.fits = 1;
  return best;
}

double Options::least_time_from(int first, int last, int type, const OptionGroup& group, double low,
                                int devices) const {
  if (!columns_.listed.empty()) return least_listed(first, last, type, group, low, devices);
  double least = kInfinity;
  for (const int column : columns_of_[type]) {
    if (!in_group(column, group)) continue;
    const Sums total = sums(first, last, column);
    const int begin = first_replicas(column, devices);
    const int faster =
        first_that(begin, max_replicas(column), [&](int r) { return make(total, column, r).time < low; });
    if (faster > begin) least = std::min(least, make(total, column, faster - 1).time);
  }
  return least;
}

int Options::fits(const Option& option, int type) const {
  const double capacity = problem_.capacity[type];
  if (!meets(option.memory + option.flight, capacity)) return 0;
  int low = 1, high = most_in_flight();
  if (meets(option.memory + high * option.flight, capacity)) return high;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (meets(option.memory + middle * option.flight, capacity))
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

double plan_time(const Columns& columns, double slowest, double pass, double sync) {
  if (columns.schedule == Schedule::none) return slowest;
  return ((columns.microbatches - 1) * slowest + pass) / columns.microbatches + sync;
}

std::int64_t rented(const Columns& columns, int type, std::int64_t devices) {
  if (!columns.whole_machines || columns.machine[type] == kInfinity) return devices;
  const auto machine = static_cast<std::int64_t>(columns.machine[type]);
  return (devices + machine - 1) / machine * machine;
}

void OptionPlan::clear() {
  std::fill(counts_.begin(), counts_.end(), 0);
  slowest_ = pass_ = sync_ = violation_ = 0;
  stages_ = 0;
}

void OptionPlan::add(const Option& option, int type) {
  counts_[type] += option.devices;
  slowest_ = std::max(slowest_, option.time);
  pass_ += option.pass;
  sync_ = std::max(sync_, option.sync);
  violation_ += option.violation;
  ++stages_;
}

double OptionPlan::time() const { return plan_time(*problem_.columns, slowest_, pass_, sync_); }

const std::vector<std::int64_t>& OptionPlan::rented() {
  rented_.resize(counts_.size());
  for (int t = 0; t < problem_.types; ++t) rented_[t] = stageplan::rented(*problem_.columns, t, counts_[t]);
  return rented_;
}

Score OptionPlan::score() {
  return price_plan(problem_, rented().data(), time(),
                    violation_ + excess(stages_, problem_.columns->max_stages));
}

}  // namespace stageplan
