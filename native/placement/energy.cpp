#include "placement/energy.h"

#include <algorithm>

namespace stageplan {
namespace {

constexpr int kSteps = 256;          // devices beyond the goal's that provisioning considers
constexpr double kTieWeight = 0.01;  // of the objective among equal violations, of speed among equal prices

// A high power, so that the slowest stages dominate a sum.
double power(double x) {
  for (int squaring = 0; squaring < 4; ++squaring) x *= x;
  return x;
}

double ratio(double value, double unit) { return unit > 0 ? value / unit : value; }

}  // namespace

Energy::Energy(const Problem& problem)
    : problem_(problem),
      single_(problem.max_devices_per_stage == 1),
      parts_(problem.labels()),
      provisioner_(problem) {}

Appraisal Energy::of(const Placement& placement) {
  if (!single_) return provision(placement);
  for (int label = 0; label < problem_.labels(); ++label) parts_[label] = part(placement, label);
  return add_parts();
}

Appraisal Energy::of_touched(const Placement& placement) {
  if (!single_) return provision(placement);
  saved_.clear();
  for (int label : placement.touched()) {
    saved_.emplace_back(label, parts_[label]);
    parts_[label] = part(placement, label);
  }
  return add_parts();
}

void Energy::undo() {
  for (const auto& [label, part] : saved_) parts_[label] = part;
}

// A type has no more labels than devices, except one without devices.
Energy::Part Energy::part(const Placement& placement, int label) const {
  if (placement.layers_of(label) == 0) return {};
  const StageLoad& load = placement.load_of(label);
  const int type = problem_.type_of(label);
  const double time = stage_time(problem_, load, 1), missing = problem_.limit[type] < 1 ? 1 : 0;
  return {time, power(ratio(time, unit_.time)), problem_.price[type],
          stage_violation(problem_, load, type) + missing};
}

Appraisal Energy::add_parts() const {
  Part sum;
  sum.price = problem_.fixed_price;
  for (const Part& part : parts_) {
    sum.time = std::max(sum.time, part.time);
    sum.pressure += part.pressure;
    sum.price += part.price;
    sum.violation += part.violation;
  }
  const Score score = price_plan(problem_, sum.time, sum.price, 0, sum.violation);
  return {score, energy(score, sum.pressure)};
}

Appraisal Energy::provision(const Placement& placement) {
  stages_.clear();
  for (int label = 0; label < problem_.labels(); ++label)
    if (placement.layers_of(label) > 0)
      stages_.push_back({label, problem_.type_of(label), 0, 0, placement.load_of(label)});
  const Score score = provisioner_.best(stages_, kSteps);
  return {score, energy(score, power(ratio(score.time, unit_.time)))};
}

// `pressure`: the power of the time, or the sum of powers of the stage times.
double Energy::energy(const Score& score, double pressure) const {
  if (unit_.violation > 0) {
    const double here = objective_of(problem_, score), both = here + objective_of(problem_, unit_);
    return power(score.violation / unit_.violation) * (1 + kTieWeight * ratio(here, both));
  }
  const double factor = 1 + penalty_ * score.violation;
  if (problem_.objective == Objective::throughput) return pressure * power(factor);
  if (problem_.objective == Objective::price)
    return power(factor * ratio(score.price, unit_.price)) * (1 + kTieWeight * ratio(pressure, 1 + pressure));
  return pressure * power(factor * ratio(score.cost, unit_.cost) / ratio(score.time, unit_.time));
}

}  // namespace stageplan
