#include "placement/annealing.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <stdexcept>

#include "common/stop.h"
#include "common/threads.h"
#include "search/schemes.h"

namespace stageplan {
namespace {

constexpr int kWalks = 4;
constexpr int kMaxPopulations = 8;   // maximum, of trials in a step
constexpr int kShareEvery = 16;      // steps
constexpr int kThreadTrials = 1024;  // trials per step from which threads pay off
constexpr int kFirstCycle = 32;      // trials per layer
constexpr double kHot = 0.5;         // initial temperature: energy accepted for a move, as a fraction
constexpr double kHalvings = 10;     // halvings of the temperature in a cycle
constexpr double kFresh = 0.25;      // fraction of cycles that start from a random scheme
constexpr int kAnyLabel = 4;         // of `layers` moves, those to any label, not that of a neighbour
constexpr int kTries = 8;            // layers tried to find a neighbour of another label
constexpr double kRuns = 0.15, kGroups = 0.2, kSwaps = 0.25;  // fractions of moves that change several layers
constexpr int kLargestGroup = 9;
constexpr double kMaxPenalty = 1e6;

// Approximately minus the binary logarithm of a uniform number: linear between powers of 2, since logarithms
// differ between machines.
double draw_exponential(Rng& rng) {
  const std::uint64_t bits = rng.next() | 1;
  const int zeros = std::countl_zero(bits);
  return zeros + 1 - static_cast<double>(bits << zeros << 1 >> 11) * 0x1p-53;
}

}  // namespace

Walk::Walk(const Scorer& scorer, std::uint64_t seed, std::uint64_t index, const Genes& start,
           const Score& score)
    : scorer_(scorer),
      problem_(scorer.problem()),
      seed_(seed),
      index_(index),
      placement_(problem_),
      energy_(problem_),
      best_(start),
      best_score_(score) {
  begin_cycle();
}

// Loads of labels and the energy's unit are made again at each step.
void Walk::transfer(State& state) {
  Genes scheme = placement_.scheme();
  stageplan::transfer(state, problem_, scheme, 1);
  if (state.loading()) placement_.load(scheme.data());
  stageplan::transfer(state, problem_, now_.score);
  for (double* number : {&now_.energy, &penalty_}) state(*number);
  for (std::uint64_t* count : {&steps_, &evaluations_, &cycle_, &trial_, &length_}) state(*count);
  state.check(trial_ <= length_ && 0 < length_);
  stageplan::transfer(state, problem_, best_, 1);
  stageplan::transfer(state, problem_, best_score_);
}

void Walk::receive(const Genes& scheme, const Score& score) {
  if (!better(problem_, score, best_score_)) return;
  best_ = scheme;
  best_score_ = score;
}

// Recomputes all loads, so that rounding errors do not accumulate.
void Walk::load(const Genes& scheme) {
  placement_.load(scheme.data());
  energy_.set_unit(best_score_);
  now_ = energy_.of(placement_);
}

void Walk::begin_cycle() {
  Rng rng(seed_, 2 * index_ + 1, ++cycle_);
  length_ = length_ == 0 ? static_cast<std::uint64_t>(kFirstCycle) * problem_.layers : length_ + length_ / 4;
  trial_ = 0;
  Genes scheme = best_;
  if (cycle_ > 1 && rng.uniform() < kFresh) random_scheme(problem_, rng, scheme.data());
  load(scheme);
}

// Geometric cooling: halves regularly, linear in between.
double Walk::temperature() const {
  const double halvings = kHalvings * static_cast<double>(trial_) / static_cast<double>(length_);
  const double whole = std::floor(halvings);
  return kHot * std::ldexp(1 - (halvings - whole) / 2, -static_cast<int>(whole));
}

// The penalty grows while the walk is infeasible and decreases while it is feasible.
void Walk::step(std::uint64_t trials) {
  penalty_ = now_.score.violation > 0 ? std::min(2 * penalty_, kMaxPenalty) : std::max(penalty_ / 2, 1.0);
  energy_.set_penalty(penalty_);
  load(Genes(placement_.scheme()));
  Rng rng(seed_, 2 * index_, steps_++);
  for (std::uint64_t i = 0; i < trials; ++i) {
    check_stop_often();
    if (trial_ >= length_) begin_cycle();
    ++trial_;
    try_move(rng);
  }
}

void Walk::try_move(Rng& rng) {
  propose(rng);
  if (placement_.touched().empty()) return;
  ++evaluations_;
  const Appraisal next = energy_.of_touched(placement_);
  if (next.energy <= now_.energy * (1 + temperature() * draw_exponential(rng))) {
    placement_.keep();
    now_ = next;
    if (improves_beyond_tie(problem_, next.score, best_score_)) keep_best();
  } else {
    energy_.undo();
    placement_.undo();
  }
}

// Gives a layer the label of a neighbour; other layers may follow, or one with that label may swap back.
// Sometimes, and if no neighbour with another label is found, it takes any label.
void Walk::propose(Rng& rng) {
  int first = rng.below(problem_.layers), to = rng.below(problem_.labels());
  for (int tries = rng.below(problem_.layers) < kAnyLabel ? 0 : kTries; tries > 0; --tries) {
    const int layer = rng.below(problem_.layers), label = placement_.scheme()[placement_.neighbour(layer, rng)];
    if (label == placement_.scheme()[layer]) continue;
    first = layer;
    to = label;
    break;
  }
  const int from = placement_.scheme()[first];
  if (to == from) return;
  placement_.move(first, to);
  const double kind = rng.uniform();
  if (kind < kRuns)
    move_run(first, to, rng);
  else if (kind < kRuns + kGroups)
    move_group(first, from, to, rng);
  else if (kind < kRuns + kGroups + kSwaps)
    swap_back(first, from, to, rng);
}

// Layers after or before the first follow it, whatever their labels; twice as many are half as likely.
void Walk::move_run(int first, int to, Rng& rng) {
  const int max_halvings = std::bit_width(static_cast<unsigned>(problem_.layers)) - 1;
  const int halvings = std::min(std::countl_zero(rng.next() | 1), max_halvings);
  const int direction = 2 * rng.below(2) - 1, length = 1 + rng.below(2 << halvings);
  for (int i = 1; i <= length; ++i) {
    const int layer = first + i * direction;
    if (layer < 0 || layer >= problem_.layers) return;
    placement_.move(layer, to);
  }
}

// Connected layers of the same label follow the first.
void Walk::move_group(int first, int from, int to, Rng& rng) {
  for (int left = 1 + rng.below(kLargestGroup - 1); left > 0; --left) {
    const int next = placement_.neighbour(first, rng);
    if (placement_.scheme()[next] == from) placement_.move(next, to);
    if (placement_.scheme()[next] == to) first = next;
  }
}

void Walk::swap_back(int first, int from, int to, Rng& rng) {
  int other = placement_.neighbour(first, rng);
  if (other == first || placement_.scheme()[other] != to) other = rng.below(problem_.layers);
  if (other != first && placement_.scheme()[other] == to) placement_.move(other, from);
}

void Walk::keep_best() {
  receive(placement_.scheme(), scorer_.score(placement_.scheme().data()));
  energy_.set_unit(best_score_);
  now_ = energy_.of(placement_);
}

Annealing::Annealing(const Problem& problem, int population, std::uint64_t seed, int threads,
                     const Genes& initial)
    : Search(problem),
      scorer_(problem),
      threads_(threads),
      trials_(std::uint64_t{1} * population * std::min(1 + problem.layers / 32, kMaxPopulations)),
      first_evaluations_(initial.size() / layers_ + problem.labels()) {
  if (problem.merge != Merge::type)
    throw std::invalid_argument(
        "method 'annealing' needs merge 'type', whose stages hold layers from anywhere");
  for (size_t i = 0; i < initial.size(); i += layers_) keep(&initial[i], scorer_.score(&initial[i]));
  for (int label = 0; label < problem.labels(); ++label) {
    const Genes scheme(layers_, static_cast<std::int8_t>(label));
    keep(scheme.data(), scorer_.score(scheme.data()));
  }
  for (int i = 0; i < kWalks; ++i)
    walks_.push_back(std::make_unique<Walk>(scorer_, seed, i, best(), best_score()));
  gather();
}

void Annealing::transfer(State& state) {
  Search::transfer(state);
  state(steps_);
  for (const auto& walk : walks_) walk->transfer(state);
}

void Annealing::step() {
  try {
    parallel_for(walks_.size(), trials_ >= kThreadTrials ? threads_ : 1,
                 [&](size_t i) { walks_[i]->step(trials_); });
  } catch (const Stopped&) {
    gather();
    throw;
  }
  gather();
  if (++steps_ % kShareEvery == 0)
    for (const auto& walk : walks_) walk->receive(best(), best_score());
}

void Annealing::gather() {
  evaluations_ = first_evaluations_;
  for (const auto& walk : walks_) {
    evaluations_ += walk->evaluations();
    keep(walk->best().data(), walk->best_score());
  }
}

}  // namespace stageplan
