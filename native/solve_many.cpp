#include "solve_many.h"

#include <atomic>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <stdexcept>

#include "common/threads.h"
#include "model/stage_matrix.h"

namespace stageplan {
namespace {

constexpr size_t kNone = std::numeric_limits<size_t>::max();

Problem set_up(const Problem& problem, const SetUps& set_ups, size_t i) {
  ProblemData data = problem.data();
  for (const auto& [field, rows] : set_ups.arrays)
    (data.*field).assign(rows + i * data.types, rows + (i + 1) * data.types);
  for (const auto& [field, rows] : set_ups.numbers) data.*field = rows[i];
  return Problem(std::move(data));
}

// What the set-ups of one small problem share: the times of all its stages.
using SharedStages = std::map<const Problem*, KnownStages>;

bool shares(const Problem& problem, const HowToSolve& how) {
  return how.exact && !problem.by_options() && problem.merge == Merge::adjacent && StageMatrix::fits(problem);
}

// For the problems of several set-ups.
SharedStages shared_by(const std::vector<const Problem*>& problems, const HowToSolve& how) {
  std::map<const Problem*, size_t> counts;
  for (const Problem* problem : problems) ++counts[problem];
  SharedStages shared;
  for (const auto& [problem, count] : counts) {
    KnownStages& known = shared[problem];
    if (count < 2 || !shares(*problem, how)) continue;
    known.loads = std::make_shared<const StageLoads>(*problem);
    known.matrix = std::make_shared<const StageMatrix>(*problem, *known.loads);
  }
  return shared;
}

void note_plan(const Problem& problem, const StageLoads& loads, const Genes& scheme, size_t i,
               const Outcomes& outcomes) {
  std::vector<Stage> stages;
  merge(problem, loads, scheme.data(), stages);
  Provisioner provisioner(problem);
  const Score score = provisioner.best(stages);
  outcomes.cost[i] = score.cost;
  outcomes.time[i] = score.time;
  outcomes.price[i] = score.price;
  outcomes.violation[i] = score.violation;
  outcomes.stages[i] = static_cast<std::int32_t>(stages.size());
  std::int64_t devices = 0;
  if (problem.by_options())
    for (const Option& option : provisioner.chosen()) devices += option.devices;
  else
    devices = std::accumulate(provisioner.devices().begin(), provisioner.devices().end(), devices);
  outcomes.devices[i] = devices;
}

void solve_one(const Problem& problem, KnownStages known, size_t i, const HowToSolve& how,
               const Outcomes& outcomes) {
  if (!known.loads) known.loads = std::make_shared<const StageLoads>(problem);
  const auto [search, steps] = solve(problem, how, known);
  const Genes& best = search->best();
  note_plan(problem, *known.loads, best, i, outcomes);
  outcomes.bound[i] = search->bound();
  outcomes.evaluations[i] = search->evaluations();
  outcomes.generations[i] = steps;
  outcomes.work[i] = search->work();
  std::copy(best.begin(), best.end(), outcomes.schemes + i * outcomes.layers);
  outcomes.solved[i] = 1;
}

}  // namespace

void solve_many(const std::vector<const Problem*>& problems, const SetUps& set_ups, const HowToSolve& how,
                int threads, const Outcomes& outcomes) {
  std::atomic<size_t> first_invalid{kNone};
  const SharedStages shared = shared_by(problems, how);
  parallel_for(problems.size(), threads, [&](size_t i) {
    check_stop();
    if (i > first_invalid) return;
    std::optional<Problem> made;
    try {
      made.emplace(set_up(*problems[i], set_ups, i));
    } catch (const std::invalid_argument&) {
      lower_to(first_invalid, i);
      return;
    }
    solve_one(*made, shared.at(problems[i]), i, how, outcomes);
  });
  if (first_invalid == kNone) return;
  try {
    set_up(*problems[first_invalid], set_ups, first_invalid);
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument("set-up " + std::to_string(first_invalid) + ": " + error.what());
  }
}

}  // namespace stageplan
