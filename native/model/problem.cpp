#include "model/problem.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>

namespace stageplan {
namespace {

[[noreturn]] void refuse(const std::string& field, double value, const std::string& allowed) {
  std::ostringstream text;
  text << field << " is " << value << "; it must be " << allowed;
  throw std::invalid_argument(text.str());
}

std::string at(const std::string& name, size_t index, size_t columns) {
  if (columns == 1) return name + "[" + std::to_string(index) + "]";
  return name + "[" + std::to_string(index / columns) + ", " + std::to_string(index % columns) + "]";
}

constexpr size_t kBlock = 256, kLanes = 4;

// Whether all of a block of values are allowed: counted without branches, several at a time.
template <class Values, class Allowed>
bool all_allowed(const Values& values, size_t begin, Allowed allowed) {
  double wrong[kLanes] = {};
  for (size_t i = begin; i < begin + kBlock; i += kLanes)
    for (size_t k = 0; k < kLanes; ++k) wrong[k] += allowed(values[i + k]) ? 0.0 : 1.0;
  return wrong[0] + wrong[1] + wrong[2] + wrong[3] == 0;
}

template <class Values, class Allowed>
void check(const std::string& name, const Values& values, size_t rows, size_t columns, Allowed allowed,
           const std::string& text) {
  if (values.size() != rows * columns)
    throw std::invalid_argument(name + " has " + std::to_string(values.size()) + " numbers; it must have " +
                                std::to_string(rows * columns));
  size_t i = 0;
  while (i + kBlock <= values.size() && all_allowed(values, i, allowed)) i += kBlock;
  for (; i < values.size(); ++i)
    if (!allowed(values[i])) refuse(at(name, i, columns), values[i], text);
}

// Wider than any use needs, and no sum, product or quotient of the model overflows or loses digits.
constexpr double kSmallest = 1e-60, kLargest = 1e60;

constexpr auto non_negative = [](double x) { return (x == 0) | ((x >= kSmallest) & (x <= kLargest)); };
constexpr auto positive_or_none = [](double x) { return x == kInfinity || (x >= kSmallest && x <= kLargest); };
constexpr auto fraction = [](double x) { return x >= 0 && x <= 1; };

void check_arrays(const ProblemData& d) {
  const size_t layers = d.layers, types = d.types;
  const std::string time = "0 or from 1e-60 to 1e60 seconds";
  check(
      "compute", d.compute, layers, types, [](double x) { return non_negative(x) || x == kInfinity; },
      "0 or from 1e-60 to 1e60 seconds, or inf where the type cannot run the layer");
  check("send", d.send, layers, types, non_negative, time);
  check("receive", d.receive, layers, types, non_negative, time);
  check("compute_parallel", d.compute_parallel, layers, types, fraction, "between 0 and 1");
  check("transfer_parallel", d.transfer_parallel, types, 1, fraction, "between 0 and 1");
  check("memory", d.memory, layers, 1, non_negative, "0 or from 1e-60 to 1e60 bytes");
  if (!d.workspace.empty())
    check("workspace", d.workspace, layers, 1, non_negative, "0 or from 1e-60 to 1e60 bytes");
  check("price", d.price, types, 1, non_negative, "0 or from 1e-60 to 1e60 $/hour");
  check(
      "limit", d.limit, types, 1, [](double x) { return x >= 0 && x == std::floor(x); },
      "a whole number of devices, 0 or more, or inf for no limit");
  check("capacity", d.capacity, types, 1, positive_or_none, "from 1e-60 to 1e60 bytes, or inf for no limit");
  check("bandwidth", d.bandwidth, types, 1, positive_or_none,
        "from 1e-60 to 1e60 bytes/s, or inf where transfers are free");
  if (d.kinds.size() != layers)
    throw std::invalid_argument("layer_kinds has " + std::to_string(d.kinds.size()) + " texts; it must have " +
                                std::to_string(layers));
}

void check_runnable(const ProblemData& d) {
  for (int l = 0; l < d.layers; ++l) {
    const auto row = d.compute.begin() + static_cast<std::ptrdiff_t>(l) * d.types;
    if (std::all_of(row, row + d.types, [](double x) { return x == kInfinity; }))
      throw std::invalid_argument("compute[" + std::to_string(l) +
                                  "] is inf on every type; at least one type must run the layer");
  }
}

void check_goal(const ProblemData& d) {
  if (!non_negative(d.fixed_price)) refuse("fixed_price", d.fixed_price, "0 or from 1e-60 to 1e60 $/hour");
  if (!(d.examples >= kSmallest && d.examples <= kLargest))
    refuse("examples", d.examples, "from 1e-60 to 1e60");
  if (!non_negative(d.min_throughput))
    refuse("min_throughput", d.min_throughput, "from 1e-60 to 1e60 examples/s");
  if (!positive_or_none(d.max_duration)) refuse("max_duration", d.max_duration, "from 1e-60 to 1e60 seconds");
  if (!positive_or_none(d.max_cost)) refuse("max_cost", d.max_cost, "from 1e-60 to 1e60 $");
  if (!positive_or_none(d.max_price)) refuse("max_price", d.max_price, "from 1e-60 to 1e60 $/hour");
  if (d.max_devices_per_stage < 1 || d.max_devices_per_stage > kMaxDevices)
    refuse("max_devices_per_stage", d.max_devices_per_stage, "from 1 to " + std::to_string(kMaxDevices));
}

void check_column_types(const Columns& c, int types) {
  if (c.type.size() != c.degree.size() || c.type.size() != c.strategy.size())
    throw std::invalid_argument("column_type, column_degree and column_strategy must have one entry a column");
  for (size_t i = 0; i < c.type.size(); ++i) {
    if (c.type[i] < 0 || c.type[i] >= types)
      refuse(at("column_type", i, 1), c.type[i], "a type from 0 to " + std::to_string(types - 1));
    if (c.degree[i] < 1 || c.degree[i] > kMaxDevices)
      refuse(at("column_degree", i, 1), c.degree[i], "from 1 to " + std::to_string(kMaxDevices));
  }
}

void check_column_arrays(const Columns& c, size_t layers, size_t types) {
  const size_t columns = c.type.size();
  const std::string seconds = "0 or from 1e-60 to 1e60 seconds", bytes = "0 or from 1e-60 to 1e60 bytes";
  const auto seconds_or_none = [](double x) { return non_negative(x) || x == kInfinity; };
  check("compute", c.compute, layers, columns, seconds_or_none,
        seconds + ", or inf where it cannot run the layer");
  check("send", c.send, layers, columns, non_negative, seconds);
  check("receive", c.receive, layers, columns, non_negative, seconds);
  check("compute_parallel", c.compute_parallel, layers, columns, fraction, "between 0 and 1");
  check("memory", c.memory, layers, columns, non_negative, bytes);
  check("sharded", c.sharded, layers, columns, non_negative, bytes);
  check("activations", c.activations, layers, columns, non_negative, bytes);
  check("workspace", c.workspace, layers, columns, non_negative, bytes);
  check("gradients", c.gradients, layers, columns, non_negative, bytes);
  check("update", c.update, layers, columns, non_negative, seconds);
  check("link", c.link, types, 1, positive_or_none, "from 1e-60 to 1e60 bytes/s, or inf where it is free");
  check("network", c.network, types, 1, positive_or_none,
        "from 1e-60 to 1e60 bytes/s, or inf where it is free");
  check(
      "machine", c.machine, types, 1, [](double x) { return x >= 1 && (x == kInfinity || x == std::floor(x)); },
      "a whole number of devices, 1 or more");
}

// Where the options of each stage on each type are.
void check_begins(const ListedOptions& o, size_t layers, size_t types) {
  const size_t stages = layers * (layers + 1) / 2 * types;
  bool fit = o.begin.size() == stages + 1 && o.begin[0] == 0 && o.begin.back() == o.size();
  for (size_t i = 0; fit && i < stages; ++i) fit = o.begin[i] <= o.begin[i + 1];
  if (!fit) throw std::invalid_argument("the options listed are not by stages and types");
}

void check_listed(const ListedOptions& o, const Columns& columns, int layers, int types) {
  if (o.empty()) return;
  check_begins(o, layers, types);
  const size_t count = o.size();
  const auto check_optional = [&](const char* name, const Shared<double>& values, const char* unit) {
    if (!values.empty())
      check(name, values, count, 1, non_negative, std::string("0 or from 1e-60 to 1e60 ") + unit);
  };
  check("time", o.time, count, 1, non_negative, "0 or from 1e-60 to 1e60 seconds");
  check_optional("pass_time", o.pass, "seconds");
  check_optional("sync", o.sync, "seconds");
  check_optional("memory", o.memory, "bytes");
  check_optional("activations", o.activations, "bytes");
  const auto check_whole = [&](const char* name, const Shared<int>& values, int least, int most) {
    check(
        name, values, count, 1, [=](int x) { return least <= x && x <= most; },
        "from " + std::to_string(least) + " to " + std::to_string(most));
  };
  if (!o.counted) check_whole("devices", o.devices, 1, kMaxDevices);
  if (!o.column.empty()) check_whole("column", o.column, 0, columns.count() - 1);
  if (!o.replicas.empty()) check_whole("replicas", o.replicas, 1, kMaxDevices);
}

void check_columns(const ProblemData& d) {
  const Columns& c = *d.columns;
  check_column_types(c, d.types);
  check_column_arrays(c, d.layers, d.types);
  check_listed(c.listed, c, d.layers, d.types);
  if (c.microbatches < 1) refuse("microbatches", c.microbatches, "1 or more");
  if (!(c.batch >= 1 && c.batch <= 1 << 30 && c.batch == std::floor(c.batch)))
    refuse("batch", c.batch, "a whole number of examples from 1 to 2^30");
  if (std::fmod(c.batch, c.microbatches) != 0)
    refuse("batch", c.batch, "a multiple of microbatches, " + std::to_string(c.microbatches));
  if (c.max_stages < 1) refuse("max_stages", c.max_stages, "1 or more");
  if (d.merge == Merge::type)
    throw std::invalid_argument(
        "merge is 'type'; it must be 'adjacent' where there are strategies, a schedule, memory by position, "
        "all-reduce or options");
}

// Without a limit, objective throughput is unbounded: more devices are always faster.
void check_bounded(const ProblemData& d) {
  if (d.objective != Objective::throughput || d.max_devices_per_stage < kMaxDevices) return;
  for (int t = 0; t < d.types; ++t) {
    if (d.limit[t] < kInfinity || (d.max_price < kInfinity && d.price[t] > 0)) continue;
    throw std::invalid_argument("objective is 'throughput', which nothing bounds on type " + std::to_string(t) +
                                "; give limit, max_devices_per_stage or, where it has a price, max_price");
  }
}

// `split` gives a type several labels, so that it can hold several stages: two are enough for neighbours;
// where all layers of a label are one stage, every device of the type needs its own.
int labels_of_type(const ProblemData& d, int type) {
  if (!d.split) return 1;
  if (d.merge == Merge::adjacent) return 2;
  if (d.limit[type] == kInfinity)
    throw std::invalid_argument("limit[" + std::to_string(type) +
                                "] is inf; it must be finite where split goes with merge 'type'");
  return static_cast<int>(std::min<double>(d.limit[type], d.layers));
}

std::vector<int> make_label_types(const ProblemData& d) {
  std::vector<int> label_types;
  for (int t = 0; t < d.types; ++t) {
    label_types.insert(label_types.end(), labels_of_type(d, t), t);
    if (label_types.size() > kMaxLabels)
      throw std::invalid_argument(
          "the problem needs more than 128 labels (one a type, two with split, one a device with split and "
          "merge 'type'); an int8 gene holds 128");
  }
  if (label_types.empty()) throw std::invalid_argument("limit is 0 for every type; one type needs a device");
  return label_types;
}

}  // namespace

Problem::Problem(ProblemData data) : ProblemData(std::move(data)) {
  if (layers < 1) refuse("the number of layers", layers, "1 or more");
  if (types < 1) refuse("the number of types", types, "1 or more");
  check_arrays(*this);
  check_runnable(*this);
  check_goal(*this);
  if (columns)
    check_columns(*this);
  else
    check_bounded(*this);
  label_types_ = make_label_types(*this);
  for (double devices : limit) limit_weight_.push_back(1 / std::max(devices, 1.0));
  cost_scale_ = examples / 3600;
  goal_time_ = std::min(1 / min_throughput, max_duration / examples);
}

double hourly_price(const Problem& problem, const std::int64_t* counts) {
  double price = problem.fixed_price;
  for (int t = 0; t < problem.types; ++t) price += problem.price[t] * static_cast<double>(counts[t]);
  return price;
}

double longest_time(const Problem& problem) {
  double bytes = 0, longest = 0;
  for (const Tensor& tensor : problem.tensors) bytes += tensor.bytes;
  for (int t = 0; t < problem.types; ++t) {
    double time = bytes / problem.bandwidth[t];
    for (size_t i = t; i < problem.compute.size(); i += problem.types)
      time += (problem.compute[i] < kInfinity ? problem.compute[i] : 0) + problem.send[i] + problem.receive[i];
    longest = std::max(longest, time);
  }
  return longest > 0 ? longest * (1 + kTolerance) : 1;
}

double limit_violation(const Problem& problem, const std::int64_t* counts) {
  double violation = 0;
  for (int t = 0; t < problem.types; ++t)
    violation += std::max(0.0, static_cast<double>(counts[t]) - problem.limit[t]) * problem.limit_weight()[t];
  return violation;
}

double device_violation(const Problem& problem, const std::int64_t* counts) {
  return limit_violation(problem, counts) + excess(hourly_price(problem, counts), problem.max_price);
}

Score price_plan(const Problem& problem, const std::int64_t* counts, double time, double stage_violation) {
  return price_plan(problem, time, hourly_price(problem, counts), limit_violation(problem, counts),
                    stage_violation);
}

}  // namespace stageplan
