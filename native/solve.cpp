#include "solve.h"

#include "auto.h"
#include "exact/exact.h"
#include "exact/option_search.h"

namespace stageplan {
namespace {

std::unique_ptr<Search> make_search(const Problem& problem, const HowToSolve& how, const KnownStages& known) {
  if (!how.exact) return std::make_unique<Auto>(problem, how.population, how.seed, 1, Genes());
  if (!Exact::serves(problem)) return std::make_unique<OptionSearch>(problem, Genes());
  return std::make_unique<Exact>(problem, Genes(), known);
}

std::uint64_t run(Search& search, const HowToSolve& how) {
  std::uint64_t steps = 0;
  int stagnation = 0;
  do {
    const Score before = search.best_score();
    search.step();
    const Score& now = search.best_score();
    const bool same = now.cost == before.cost && now.time == before.time && now.violation == before.violation;
    stagnation = same ? stagnation + 1 : 0;
    ++steps;
  } while (!search.done() && search.work() < how.work && (how.exact || stagnation < how.stagnation));
  return steps;
}

}  // namespace

Solved solve(const Problem& problem, const HowToSolve& how, const KnownStages& known) {
  std::unique_ptr<Search> search = make_search(problem, how, known);
  const std::uint64_t steps = run(*search, how);
  return {std::move(search), steps};
}

}  // namespace stageplan
