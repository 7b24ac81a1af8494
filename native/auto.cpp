#include "auto.h"

#include <algorithm>
#include <cmath>

namespace stageplan {
namespace {

constexpr std::uint64_t kProof = 1 << 28;  // work after which a proof is given up: about a second
constexpr double kFewSchemes = 1 << 16;

}  // namespace

Auto::Auto(const Problem& problem, int population, std::uint64_t seed, int threads, const Genes& initial)
    : Search(problem), population_(population), threads_(threads), seed_(seed), initial_(initial) {
  if (problem.merge == Merge::adjacent)
    exact_ = std::make_unique<Exact>(problem, initial);
  else if (std::pow(problem.labels(), problem.layers) <= kFewSchemes)
    all_ = std::make_unique<Enumeration>(problem, threads);
  if (exact_) take(*exact_);
}

bool Auto::proving() const { return all_ || (exact_ && exact_->work() < kProof); }

void Auto::take(const Search& search) {
  evaluations_ = search.evaluations() + (genetic_ && exact_ ? exact_->evaluations() : 0);
  keep(search.best().data(), search.best_score());
}

void Auto::step() {
  if (proving()) {
    Search& proof = exact_ ? static_cast<Search&>(*exact_) : *all_;
    proof.step();
    take(proof);
    done_ = proof.done();
    return;
  }
  if (!genetic_) {
    Genes schemes = initial_;
    if (exact_) schemes = exact_->tried();
    genetic_ = std::make_unique<Genetic>(problem_, population_, seed_, threads_, schemes);
  }
  genetic_->step();
  take(*genetic_);
}

double Auto::bound() const {
  if (all_) return all_->bound();
  return exact_ ? std::min(exact_->bound(), least()) : Search::bound();
}

}  // namespace stageplan
