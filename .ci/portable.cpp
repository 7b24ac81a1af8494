// Plans and scores of problems from a fixed seed, in hexadecimal: the same on every processor and compiler.
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "capi.h"
#include "common/rng.h"
#include "kernels/instruction_set.h"

namespace {

constexpr size_t kSchemes = 1000;
constexpr double kDevices = 40;             // of each type
constexpr std::uint64_t kWork = 2'000'000;  // of a search, so that an emulated processor takes a minute

void check(int status, const stageplan_error& error) {
  if (status == STAGEPLAN_OK) return;
  std::fprintf(stderr, "%s\n", error.message);
  std::exit(1);
}

void show(const char* name, const std::vector<double>& numbers) {
  std::printf("%s", name);
  for (const double number : numbers) std::printf(" %a", number);
  std::printf("\n");
}

void solve(int layers, int types, std::uint64_t seed) {
  const stageplan_api& api = stageplan::kApi;
  stageplan::Rng random(seed, 0, 0);
  const auto draw = [&] { return 0.1 + random.uniform(); };
  std::vector<double> compute(layers * types), send(layers * types), memory(layers), price(types),
      limit(types, kDevices);
  for (auto* numbers : {&compute, &send, &memory, &price})
    for (double& number : *numbers) number = draw();

  stageplan_error error{};
  stageplan_arrays arrays;
  api.arrays_init(&arrays);
  arrays.layers = layers;
  arrays.types = types;
  arrays.compute = compute.data();
  arrays.send = send.data();
  arrays.memory = memory.data();
  arrays.price = price.data();
  arrays.limit = limit.data();
  stageplan_goal goal;
  api.goal_init(&goal);
  goal.min_throughput = 2;
  stageplan_problem* problem;
  check(api.problem_new(&arrays, &goal, &problem, &error), error);

  for (const int method : {STAGEPLAN_EXACT, STAGEPLAN_AUTO}) {
    stageplan_search search;
    api.search_init(&search);
    search.method = method;
    search.seed = seed;
    search.work = kWork;
    stageplan_result found;
    std::vector<std::int8_t> scheme(layers);
    check(api.solve(problem, &search, layers, &found, scheme.data(), nullptr, &error), error);
    std::printf("layers %d method %d status %d work %" PRIu64 " scheme", layers, method, found.status,
                found.work);
    for (const int label : scheme) std::printf(" %d", label);
    show("\nplan", {found.plan.cost, found.plan.time, found.plan.price, found.bound});
  }

  std::vector<std::int8_t> schemes(kSchemes * layers);
  for (std::int8_t& label : schemes) label = static_cast<std::int8_t>(random.below(types));
  for (const double target : {2.0, 0.0}) {
    stageplan_scorer* scorer;
    check(api.scorer_new(problem, target, &scorer, &error), error);
    std::vector<double> cost(kSchemes), time(kSchemes), violation(kSchemes);
    check(api.score(scorer, schemes.data(), kSchemes, layers, cost.data(), time.data(), violation.data(),
                    nullptr, &error),
          error);
    show("cost", cost);
    show("time", time);
    check(api.scorer_free(scorer, &error), error);
  }
  check(api.problem_free(problem, &error), error);
}

}  // namespace

int main() {
  std::fprintf(stderr, "instruction set: %s\n", stageplan::instruction_set().name);
  solve(8, 3, 1);
  solve(30, 5, 2);
  solve(64, 8, 3);
  solve(100, 4, 4);
}
