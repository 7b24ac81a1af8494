#include "auto.h"

#include <cmath>

#include "common/stop.h"
#include "exact/exact.h"
#include "exact/option_search.h"
#include "genetic/genetic.h"
#include "model/merge.h"
#include "model/ties.h"
#include "placement/annealing.h"

namespace stageplan {
namespace {

constexpr std::uint64_t kProof = 1 << 28;      // work after which a proof is abandoned: about a second
constexpr std::uint64_t kSlice = kProof / 16;  // of a step; few, since steps without a better plan count
constexpr double kFewSchemes = 1 << 16;
constexpr int kNearest = 64;  // generations that reduce the violation where no plan is feasible

std::unique_ptr<Search> make_exact(const Problem& problem, const Genes& initial) {
  if (!Exact::serves(problem)) return std::make_unique<OptionSearch>(problem, initial);
  return std::make_unique<Exact>(problem, initial);
}

}  // namespace

Auto::Auto(const Problem& problem, int population, std::uint64_t seed, int threads, const Genes& initial)
    : ExactSearch(problem, threads), population_(population), threads_(threads), seed_(seed), first_(initial) {
  if (problem.merge == Merge::adjacent) {
    exact_ = make_exact(problem, initial);
    keep(exact_->best().data(), exact_->best_score());
    evaluations_ = exact_->evaluations();
  } else if (std::pow(problem.labels(), problem.layers) <= kFewSchemes) {
    all_ = std::make_unique<Enumeration>(problem, threads);
  } else {
    bound_ = Search::bound();
    contiguous_ = std::make_unique<Problem>(problem.with(Merge::adjacent));
    exact_ = std::make_unique<Exact>(*contiguous_, Genes());
    score(initial);
  }
}

bool Auto::proving() const { return all_ || (!exact_->done() && exact_->work() < kProof && !search_); }

void Auto::step() {
  if (proving())
    prove();
  else
    search();
}

void Auto::prove() {
  Search& proof = all_ ? static_cast<Search&>(*all_) : *exact_;
  const std::uint64_t until = all_ ? 0 : exact_->work() + kSlice;
  const auto take = [&] {
    keep(proof.best().data(), proof.best_score());
    evaluations_ = proof.evaluations();
  };
  try {
    do proof.step();
    while (exact_ && !exact_->done() && exact_->work() < until);
  } catch (const Stopped&) {
    if (!contiguous_ && !proof.best().empty()) take();
    throw;
  }
  if (contiguous_) return score(relabel_contiguous(*contiguous_, exact_->best().data(), problem_));
  take();
  done_ = all_ ? all_->done() : proven(exact_->bound());
}

// Ties count as proven; an abandoned proof leaves a larger gap.
bool Auto::proven(double bound) const { return least() < kInfinity && least() <= bound * (1 + kTie); }

void Auto::make_search() {
  if (contiguous_)
    search_ = std::make_unique<Annealing>(problem_, population_, seed_, threads_, first_);
  else
    search_ = std::make_unique<Genetic>(problem_, population_, seed_, threads_, exact_->tried());
}

// What searches after the proof is made from what the proof has left.
void Auto::transfer(State& state) {
  Search::transfer(state);
  stageplan::transfer(state, problem_, first_);
  state(nearest_);
  if (all_) return all_->transfer(state);
  exact_->transfer(state);
  bool searching = search_ != nullptr;
  state(searching);
  if (state.loading()) search_.reset();
  if (searching && !search_) make_search();
  if (searching) search_->transfer(state);
}

void Auto::search() {
  if (!search_) {
    first_.insert(first_.end(), best().begin(), best().end());
    make_search();
  }
  try {
    search_->step();
  } catch (const Stopped&) {
    if (!search_->best().empty()) keep(search_->best().data(), search_->best_score());
    throw;
  }
  keep(search_->best().data(), search_->best_score());
  evaluations_ = exact_->evaluations() + search_->evaluations();
  const bool nothing_fits = !contiguous_ && exact_->done() && exact_->bound() == kInfinity;
  done_ = nothing_fits ? ++nearest_ == kNearest : proven(bound());
}

std::uint64_t Auto::work() const {
  if (all_) return all_->work();
  return exact_->work() + (search_ ? search_->work() : 0);
}

double Auto::bound() const {
  if (all_) return all_->bound();
  return contiguous_ ? bound_ : std::min(exact_->bound(), least());
}

}  // namespace stageplan
