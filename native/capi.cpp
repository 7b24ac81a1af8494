#include "capi.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <deque>
#include <memory>
#include <mutex>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>

#include "common/stop.h"
#include "kernels/scorer.h"
#include "model/merge.h"
#include "model/provision.h"
#include "model/stage_report.h"
#include "model/ties.h"
#include "solve.h"

namespace stageplan {
namespace {

// What handles hold.
struct ProblemBody {
  static constexpr std::uint64_t kMark = 0x5e1f0c3ab7d29c41;
  static constexpr const char* kName = "problem";
  explicit ProblemBody(ProblemData data) : ProblemBody(Problem(std::move(data))) {}
  explicit ProblemBody(Problem given)
      : problem(std::move(given)), loads(std::make_shared<const StageLoads>(problem)) {}
  const Problem problem;
  const std::shared_ptr<const StageLoads> loads;
};

struct ScorerBody {
  static constexpr std::uint64_t kMark = 0xa94d17e6f0358b23;
  static constexpr const char* kName = "scorer";
  explicit ScorerBody(std::shared_ptr<const ProblemBody> problem_body)
      : problem_body(problem_body), scorer(problem_body->problem) {}
  ScorerBody(std::shared_ptr<const ProblemBody> problem_body, double target)
      : problem_body(problem_body), scorer(problem_body->problem, 1 / target, Allowed::plan) {}
  const std::shared_ptr<const ProblemBody> problem_body;  // may outlive the caller's handle
  const Scorer scorer;
};

// What a caller's pointer points to. The mark tells it from other memory.
template <class Body>
struct Handle {
  std::atomic<std::uint64_t> mark{Body::kMark};
  std::shared_ptr<const Body> body;
};

}  // namespace
}  // namespace stageplan

struct stageplan_problem : stageplan::Handle<stageplan::ProblemBody> {};
struct stageplan_scorer : stageplan::Handle<stageplan::ScorerBody> {};

namespace stageplan {
namespace {

void note(stageplan_error* error, const char* sentence) noexcept {
  if (error != nullptr) std::snprintf(error->message, sizeof error->message, "%s", sentence);
}

// The status of `work`. It has no deadline: a stop request of the calling thread concerns Python's call alone.
template <class Work>
int run(stageplan_error* error, const Work& work) noexcept {
  if (error != nullptr) error->message[0] = 0;
  try {
    const StopRequest::Share none(nullptr);
    work();
    return STAGEPLAN_OK;
  } catch (const std::invalid_argument& problem) {
    note(error, problem.what());
    return STAGEPLAN_INVALID;
  } catch (const std::bad_alloc&) {
    note(error, "too little memory is available");
    return STAGEPLAN_NO_MEMORY;
  } catch (const std::exception& problem) {
    note(error, problem.what());
  } catch (...) {
    note(error, "unknown failure");
  }
  return STAGEPLAN_FAILED;
}

template <class Number>
[[noreturn]] void refuse(const std::string& name, Number value, const std::string& allowed) {
  std::ostringstream text;
  text << name << " is " << value << "; it must be " << allowed;
  throw std::invalid_argument(text.str());
}

void check_given(const char* name, const void* pointer) {
  if (pointer == nullptr) throw std::invalid_argument(std::string(name) + " is NULL; it must be given");
}

void check_range(const char* name, int value, int least, int most) {
  if (value < least || value > most)
    refuse(name, value, "from " + std::to_string(least) + " to " + std::to_string(most));
}

// The struct of the caller, if it has the size that this version knows.
template <class Struct>
const Struct& checked(const char* name, const Struct* given) {
  check_given(name, given);
  if (given->size != sizeof(Struct))
    refuse(std::string(name) + ".size", given->size,
           std::to_string(sizeof(Struct)) + ", as " + name + "_init sets it");
  return *given;
}

// Handles ----------------------------------------------------------------------------------------------------

template <class Opaque, class Body>
Opaque* make_handle(std::shared_ptr<const Body> body) {
  auto handle = std::make_unique<Opaque>();
  handle->body = std::move(body);
  return handle.release();
}

template <class Body>
bool is_handle(const Handle<Body>* handle) {
  return reinterpret_cast<std::uintptr_t>(handle) % alignof(Handle<Body>) == 0 && handle->mark == Body::kMark;
}

template <class Body>
const std::shared_ptr<const Body>& body_of(const Handle<Body>* handle) {
  check_given(Body::kName, handle);
  if (!is_handle(handle))
    throw std::invalid_argument(std::string(Body::kName) + " is not one that " + Body::kName +
                                "_new made, or it was freed");
  return handle->body;
}

// Keeps the memory of the last freed handles, so that the use of one is told from that of a valid one.
template <class Opaque>
void retire(std::unique_ptr<Opaque> handle) {
  constexpr size_t kept = 512;
  static std::mutex mutex;
  static auto& retired = *new std::deque<std::unique_ptr<Opaque>>;  // other threads may outlive static objects
  const std::lock_guard lock(mutex);
  retired.push_back(std::move(handle));
  if (retired.size() > kept) retired.pop_front();
}

template <class Opaque>
void free_handle(Opaque* handle) {
  if (handle == nullptr) return;
  body_of(handle);
  if (handle->mark.exchange(0) == 0) body_of(handle);  // refuses it: another thread freed it meanwhile
  handle->body.reset();
  retire(std::unique_ptr<Opaque>(handle));
}

// Problems ---------------------------------------------------------------------------------------------------

std::vector<double> copy(const double* values, size_t count, double absent) {
  return values == nullptr ? std::vector<double>(count, absent) : std::vector<double>(values, values + count);
}

void check_layer(const std::string& name, int layer, int layers) {
  if (layer < 0 || layer >= layers) refuse(name, layer, "a layer from 0 to " + std::to_string(layers - 1));
}

std::vector<Tensor> tensors_of(const stageplan_arrays& arrays) {
  std::vector<Tensor> tensors;
  if (arrays.tensors < 0) refuse("tensors", arrays.tensors, "0 or more");
  if (arrays.tensors == 0) return tensors;
  check_given("producer", arrays.producer);
  check_given("bytes", arrays.bytes);
  check_given("consumers", arrays.consumers);
  check_given("consumers_end", arrays.consumers_end);
  for (int i = 0, begin = 0; i < arrays.tensors; begin = arrays.consumers_end[i++]) {
    const std::string place = "[" + std::to_string(i) + "]";
    check_layer("producer" + place, arrays.producer[i], arrays.layers);
    if (!(arrays.bytes[i] >= 0 && arrays.bytes[i] <= 1e60))
      refuse("bytes" + place, arrays.bytes[i], "from 0 to 1e60 bytes");
    if (arrays.consumers_end[i] < begin)
      refuse("consumers_end" + place, arrays.consumers_end[i], std::to_string(begin) + " or more");
    for (int c = begin; c < arrays.consumers_end[i]; ++c)
      check_layer("consumers[" + std::to_string(c) + "]", arrays.consumers[c], arrays.layers);
    tensors.push_back({arrays.producer[i],
                       {arrays.consumers + begin, arrays.consumers + arrays.consumers_end[i]},
                       arrays.bytes[i]});
  }
  return tensors;
}

void set_arrays(ProblemData& data, const stageplan_arrays& arrays) {
  check_range("layers", arrays.layers, 1, STAGEPLAN_MAX_LAYERS);
  check_range("types", arrays.types, 1, kMaxLabels);
  check_given("compute", arrays.compute);
  check_given("price", arrays.price);
  const size_t layers = arrays.layers, types = arrays.types, both = layers * types;
  data.layers = arrays.layers;
  data.types = arrays.types;
  data.compute = copy(arrays.compute, both, 0);
  data.send = copy(arrays.send, both, 0);
  data.receive = copy(arrays.receive, both, 0);
  data.compute_parallel = copy(arrays.compute_parallel, both, 1);
  data.transfer_parallel = copy(arrays.transfer_parallel, types, 1);
  data.memory = copy(arrays.memory, layers, 0);
  if (arrays.workspace != nullptr) data.workspace = copy(arrays.workspace, layers, 0);
  data.price = copy(arrays.price, types, 0);
  data.limit = copy(arrays.limit, types, kInfinity);
  data.capacity = copy(arrays.capacity, types, kInfinity);
  data.bandwidth = copy(arrays.bandwidth, types, kInfinity);
  data.fixed_price = arrays.fixed_price;
  data.kinds.assign(layers, 0);
  data.tensors = tensors_of(arrays);
}

void set_goal(ProblemData& data, const stageplan_goal& goal) {
  check_range("objective", goal.objective, STAGEPLAN_COST, STAGEPLAN_PRICE);
  check_range("merge", goal.merge, STAGEPLAN_ADJACENT, STAGEPLAN_BY_TYPE);
  check_range("overlap", goal.overlap, 0, 1);
  check_range("split", goal.split, 0, 1);
  data.objective = static_cast<Objective>(goal.objective);
  data.merge = static_cast<Merge>(goal.merge);
  data.overlap = goal.overlap == 1;
  data.split = goal.split == 1;
  data.max_devices_per_stage = goal.max_devices_per_stage;
  data.examples = goal.examples;
  data.min_throughput = goal.min_throughput;
  data.max_duration = goal.max_duration;
  data.max_cost = goal.max_cost;
  data.max_price = goal.max_price;
}

// Stages of layers that are not neighbours have the workspaces of all their layers.
void add_workspace(ProblemData& data) {
  if (data.merge != Merge::type || data.workspace.empty()) return;
  for (size_t l = 0; l < data.memory.size(); ++l) data.memory[l] += data.workspace[l];
  data.workspace.clear();
}

// Plans ------------------------------------------------------------------------------------------------------

void check_layers(const Problem& problem, int layers) {
  if (layers != problem.layers)
    refuse("layers", layers, std::to_string(problem.layers) + ", as in the problem");
}

stageplan_stage to_stage(const StageReport& report) {
  const StageRecord& stage = report.record;
  return {report.label,   stage.type,      stage.first, stage.last,    stage.devices,  stage.column,
          stage.replicas, stage.in_flight, stage.time,  stage.compute, stage.transfer, stage.memory};
}

stageplan_plan make_plan(const ProblemBody& body, const std::int8_t* scheme, stageplan_stage* reports) {
  std::vector<Stage> stages;
  merge(body.problem, *body.loads, scheme, stages);
  Provisioner provisioner(body.problem);
  const Score score = provisioner.best(stages);
  const std::vector<StageReport> all = report_stages(body.problem, stages, provisioner, scheme);
  if (reports != nullptr) std::transform(all.begin(), all.end(), reports, to_stage);
  std::int64_t devices = 0;
  for (const StageReport& stage : all) devices += stage.record.devices;
  return {score.cost,      score.time, score.price,
          score.violation, devices,    static_cast<std::int32_t>(stages.size())};
}

HowToSolve how_to_solve(const stageplan_search& search) {
  check_range("method", search.method, STAGEPLAN_AUTO, STAGEPLAN_EXACT);
  constexpr int most = std::numeric_limits<std::int32_t>::max();
  check_range("population", search.population, 2, most);
  check_range("stagnation", search.stagnation, 1, most);
  return {.exact = search.method == STAGEPLAN_EXACT,
          .population = search.population,
          .seed = search.seed,
          .work = search.work,
          .stagnation = search.stagnation};
}

int status_of(double violation, double value, double bound) {
  if (violation > 0) return bound == kInfinity ? STAGEPLAN_INFEASIBLE : STAGEPLAN_UNKNOWN;
  return value <= bound * (1 + kTie) ? STAGEPLAN_OPTIMAL : STAGEPLAN_FEASIBLE;
}

// The functions ----------------------------------------------------------------------------------------------

void arrays_init(stageplan_arrays* arrays) noexcept {
  if (arrays == nullptr) return;
  *arrays = {};
  arrays->size = sizeof *arrays;
}

void goal_init(stageplan_goal* goal) noexcept {
  if (goal == nullptr) return;
  *goal = {.size = sizeof *goal,
           .objective = STAGEPLAN_COST,
           .merge = STAGEPLAN_ADJACENT,
           .overlap = 1,
           .split = 0,
           .max_devices_per_stage = kMaxDevices,
           .examples = 1e6,
           .min_throughput = 0,
           .max_duration = kInfinity,
           .max_cost = kInfinity,
           .max_price = kInfinity};
}

void search_init(stageplan_search* search) noexcept {
  if (search == nullptr) return;
  *search = {.size = sizeof *search,
             .method = STAGEPLAN_AUTO,
             .population = 256,
             .stagnation = 200,
             .seed = 0,
             .work = std::numeric_limits<std::uint64_t>::max()};
}

int problem_new(const stageplan_arrays* arrays, const stageplan_goal* goal, stageplan_problem** problem,
                stageplan_error* error) noexcept {
  return run(error, [&] {
    check_given("problem", problem);
    ProblemData data;
    set_arrays(data, checked("arrays", arrays));
    set_goal(data, checked("goal", goal));
    add_workspace(data);
    *problem = make_handle<stageplan_problem>(std::make_shared<const ProblemBody>(std::move(data)));
  });
}

int problem_free(stageplan_problem* problem, stageplan_error* error) noexcept {
  return run(error, [&] { free_handle(problem); });
}

int scorer_new(const stageplan_problem* problem, double target, stageplan_scorer** scorer,
               stageplan_error* error) noexcept {
  return run(error, [&] {
    const std::shared_ptr<const ProblemBody>& body = body_of(problem);
    check_given("scorer", scorer);
    if (!(target == 0 || (target >= 1e-60 && target <= 1e60)))
      refuse("target", target, "0 or from 1e-60 to 1e60 examples/s");
    *scorer = make_handle<stageplan_scorer>(target == 0 ? std::make_shared<const ScorerBody>(body)
                                                        : std::make_shared<const ScorerBody>(body, target));
  });
}

int scorer_free(stageplan_scorer* scorer, stageplan_error* error) noexcept {
  return run(error, [&] { free_handle(scorer); });
}

int score(const stageplan_scorer* scorer, const std::int8_t* schemes, size_t count, std::int32_t layers,
          double* cost, double* time, double* violation, double* price, stageplan_error* error) noexcept {
  return run(error, [&] {
    const ScorerBody& body = *body_of(scorer);
    check_layers(body.problem_body->problem, layers);
    if (count == 0) return;
    check_given("schemes", schemes);
    check_given("cost", cost);
    check_given("time", time);
    check_given("violation", violation);
    if (!body.scorer.score(schemes, count, {cost, time, violation, price}))
      check_genes(body.problem_body->problem, "schemes", schemes, count * layers);
  });
}

int provision(const stageplan_problem* problem, const std::int8_t* scheme, std::int32_t layers,
              stageplan_plan* plan, stageplan_stage* stages, stageplan_error* error) noexcept {
  return run(error, [&] {
    const ProblemBody& body = *body_of(problem);
    check_layers(body.problem, layers);
    check_given("scheme", scheme);
    check_given("plan", plan);
    check_genes(body.problem, "scheme", scheme, layers);
    *plan = make_plan(body, scheme, stages);
  });
}

int solve(const stageplan_problem* problem, const stageplan_search* search, std::int32_t layers,
          stageplan_result* result, std::int8_t* scheme, stageplan_stage* stages,
          stageplan_error* error) noexcept {
  return run(error, [&] {
    const ProblemBody& body = *body_of(problem);
    check_layers(body.problem, layers);
    check_given("result", result);
    const Solved solved = stageplan::solve(body.problem, how_to_solve(checked("search", search)),
                                           {.loads = body.loads, .matrix = nullptr});
    const Search& done = *solved.search;
    const double bound = done.bound();
    const stageplan_plan plan = make_plan(body, done.best().data(), stages);
    const Score score{plan.cost, plan.time, plan.violation, plan.price};
    *result = {plan, bound, status_of(plan.violation, objective_of(body.problem, score), bound), done.work()};
    if (scheme != nullptr) std::copy(done.best().begin(), done.best().end(), scheme);
  });
}

}  // namespace

stageplan_problem* make_problem_handle(const Problem& problem) {
  return make_handle<stageplan_problem>(std::make_shared<const ProblemBody>(problem));
}

const stageplan_api kApi = {STAGEPLAN_CAPI_VERSION,
                            arrays_init,
                            goal_init,
                            search_init,
                            problem_new,
                            problem_free,
                            scorer_new,
                            scorer_free,
                            score,
                            provision,
                            solve};

}  // namespace stageplan
