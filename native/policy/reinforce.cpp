#include "policy/reinforce.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "common/elementary.h"
#include "common/threads.h"
#include "search/polish.h"

namespace stageplan {
namespace {

constexpr int kHidden = 32;
constexpr int kGroup = 8;               // episodes sampled side by side, by one thread
constexpr int kReplays = 8;             // episodes of a generation that replay an elite
constexpr int kExplore = 4;             // one episode in this many explores
constexpr int kSearches = 2;            // local searches per generation
constexpr double kRate = 0.01;          // learning rate
constexpr double kClip = 1;             // maximum norm of a gradient
constexpr double kMemory = 0.9;         // of the moving average of rewards
constexpr double kMaxWeight = 3;        // maximum weight of an episode in the gradient
constexpr double kMinSpread = 1e-4;     // minimum spread of rewards for normalisation
constexpr double kEntropy = 0.1;        // initial entropy bonus
constexpr double kEntropyDecay = 0.99;  // factor per generation
constexpr double kMinEntropy = 1e-9;    // lower bound of the bonus
constexpr std::uint64_t kAgain = 100;   // latest generation of the bonus when another problem starts
constexpr double kDoubt = 0.4;          // factor on the weights of the logits then
constexpr std::uint64_t kFirstWeights = 0, kPlay = 1, kReplay = 2, kPolish = 3;  // streams of random numbers

PolicyShape shape_of(Cell cell, int types, int labels) {
  return {cell, Features::shared(types), Features::own(types), labels, kHidden};
}

double uniform_at(const Rng& rng, std::uint64_t place) {
  return static_cast<double>(rng.at(place) >> 11) * 0x1p-53;
}

double entropy_bonus(std::uint64_t generation) {
  double bonus = kEntropy;
  for (std::uint64_t i = 0; i < generation && bonus > kMinEntropy; ++i) bonus *= kEntropyDecay;
  return bonus;
}

// Draws from the square roots of the probabilities, so that unlikely labels are explored.
int draw_flatter(const float* probabilities, int labels, double uniform) {
  float flatter[kMaxLabels], sum = 0;
  for (int k = 0; k < labels; ++k) sum += flatter[k] = std::sqrt(probabilities[k]);
  for (int k = 0; k < labels; ++k) flatter[k] /= sum;
  return draw(flatter, labels, uniform);
}

bool searches_windows(const Problem& problem) {
  return problem.merge == Merge::adjacent && !problem.by_options() && !problem.plan_cost &&
         WindowSearch::bytes(problem) <= StageTable::kMaxBytes;
}

}  // namespace

Learned::Learned(Cell cell, int types, int labels, std::uint64_t seed)
    : shape(shape_of(cell, types, labels)),
      weights(initial_weights<float>(shape, Rng(seed, kFirstWeights, 0))),
      adam(weights.size()) {}

void Learned::reset_for_new_problem() {
  baseline = std::numeric_limits<double>::quiet_NaN();
  generations = std::min(generations, kAgain);
  for (const PolicyShape::Part& part : shape.parts())
    if (part.name == std::string("head") || part.name == std::string("head_bias"))
      for (int i = 0; i < part.rows * part.columns; ++i) weights[part.first + i] *= static_cast<float>(kDoubt);
}

void Learned::transfer(State& state) {
  for (std::vector<float>* numbers : {&weights, &adam.first, &adam.second}) {
    const size_t size = numbers->size();
    state(*numbers);
    state.check(numbers->size() == size);
  }
  state(adam.steps);
  state(baseline);
  state(generations);
}

Reinforce::Reinforce(const Problem& problem, Learned learned, int population, std::uint64_t seed, int threads,
                     const Genes& initial, bool alone)
    : Search(problem),
      features_(problem),
      learned_(std::move(learned)),
      seed_(seed),
      threads_(threads),
      first_drawn_(1 + kReplays + population / kExplore),
      episodes_(1 + kReplays + population),
      alone_(alone || !searches_windows(problem)),
      scores_(episodes_),
      weights_(episodes_) {
  for (int first = 0; first < episodes_; first += kGroup)
    groups_.push_back(
        std::make_unique<Episodes>(features_, learned_.shape, std::min(kGroup, episodes_ - first)));
  gradients_.resize(groups_.size());
  Genes first = initial;
  if (const Genes homogeneous = homogeneous_schemes(problem); !alone)
    first.insert(first.end(), homogeneous.begin(), homogeneous.end());
  for (size_t i = 0; i < first.size(); i += layers_) consider(Genes(&first[i], &first[i] + layers_));
}

void Reinforce::consider(const Genes& scheme) {
  const Score score = features_.scorer().score(scheme.data());
  ++evaluations_;
  keep(scheme.data(), score);
  elites_.add(problem_, score, scheme);
}

void Reinforce::transfer(State& state) {
  Search::transfer(state);
  learned_.transfer(state);
  elites_.transfer(state, problem_);
}

void Reinforce::step() {
  play();
  score();
  learn();
  ++learned_.generations;
  if (!alone_) polish();
}

// The first episode is decoded greedily, some replay elites, some explore, the others are sampled.
void Reinforce::play() {
  Rng replay(seed_, kReplay, learned_.generations);
  replayed_.assign(kReplays, nullptr);
  if (!elites_.empty())
    for (const Genes*& scheme : replayed_) scheme = &elites_.draw(replay).scheme;
  const Rng rng(seed_, kPlay, learned_.generations);
  parallel_for(groups_.size(), threads_, [&](size_t g) {
    groups_[g]->play(learned_.weights.data(), [&, first = static_cast<int>(g) * kGroup](
                                                  int episode, int layer, const float* probabilities) {
      return pick(first + episode, layer, probabilities, rng);
    });
  });
}

int Reinforce::pick(int episode, int layer, const float* probabilities, const Rng& rng) const {
  const int labels = learned_.shape.labels;
  if (episode == 0)
    return static_cast<int>(std::max_element(probabilities, probabilities + labels) - probabilities);
  if (episode <= kReplays && replayed_[episode - 1]) return (*replayed_[episode - 1])[layer];
  const double uniform = uniform_at(rng, static_cast<std::uint64_t>(episode) * layers_ + layer);
  return episode < first_drawn_ ? draw_flatter(probabilities, labels, uniform)
                                : draw(probabilities, labels, uniform);
}

void Reinforce::score() {
  parallel_for(groups_.size(), threads_, [&](size_t g) {
    for (int e = 0; e < groups_[g]->count(); ++e)
      scores_[g * kGroup + e] = features_.scorer().score(groups_[g]->scheme(e));
  });
  evaluations_ += episodes_;
  for (int i = 0; i < episodes_; ++i) {
    const std::int8_t* scheme = groups_[i / kGroup]->scheme(i % kGroup);
    keep(scheme, scores_[i]);
    elites_.add(problem_, scores_[i], Genes(scheme, scheme + layers_));
  }
}

// The weight of each episode in the gradient: its advantage over the moving average of the rewards, normalised
// by their spread. Replayed episodes count only if the advantage is positive. Exploring episodes are off-policy
// and do not count: good ones become elites and teach when they are replayed.
void Reinforce::weigh() {
  std::vector<double> rewards;
  for (const Score& score : scores_) rewards.push_back(features_.reward(score));
  const int drawn = episodes_ - first_drawn_;
  double mean = 0, square = 0;
  for (int i = first_drawn_; i < episodes_; ++i) mean += rewards[i] / drawn;
  double& baseline = learned_.baseline;
  baseline = std::isnan(baseline) ? mean : kMemory * baseline + (1 - kMemory) * mean;
  for (int i = first_drawn_; i < episodes_; ++i)
    square += (rewards[i] - baseline) * (rewards[i] - baseline) / drawn;
  const double spread = std::max(std::sqrt(square), kMinSpread);
  std::fill(weights_.begin(), weights_.end(), 0.0);
  for (int i = 1; i < episodes_; i = i == kReplays ? first_drawn_ : i + 1) {
    const double least = i <= kReplays ? 0 : -kMaxWeight;
    weights_[i] = std::clamp((rewards[i] - baseline) / spread, least, kMaxWeight) / episodes_;
  }
}

void Reinforce::learn() {
  weigh();
  const double entropy = entropy_bonus(learned_.generations) / episodes_;
  parallel_for(groups_.size(), threads_, [&](size_t g) {
    gradients_[g].assign(learned_.weights.size(), 0.0f);
    groups_[g]->differentiate(&weights_[g * kGroup], entropy, gradients_[g].data());
  });
  for (size_t g = 1; g < gradients_.size(); ++g)
    for (size_t i = 0; i < gradients_[0].size(); ++i) gradients_[0][i] += gradients_[g][i];
  learned_.adam.update(learned_.weights.data(), gradients_[0].data(), kRate, kClip);
}

void Reinforce::polish() {
  std::vector<Genes> found(kSearches);
  std::vector<std::uint64_t> looked_at(kSearches);
  parallel_for(kSearches, threads_, [&](size_t i) { found[i] = improved(static_cast<int>(i), looked_at[i]); });
  for (int i = 0; i < kSearches; ++i) {
    consider(found[i]);
    evaluations_ += looked_at[i];
  }
}

// Local search from the generation's best scheme, or from an elite, at a target near its own.
Genes Reinforce::improved(int search, std::uint64_t& looked_at) const {
  Rng rng(seed_, kPolish + search, learned_.generations);
  size_t at = 0;
  for (size_t i = 1; i < scores_.size(); ++i)
    if (better(problem_, scores_[i], scores_[at])) at = i;
  const std::int8_t* best = groups_[at / kGroup]->scheme(static_cast<int>(at % kGroup));
  Genes scheme(best, best + layers_);
  double time = target_of(problem_, scores_[at]);
  if (search > 0) {
    const Elites::Elite& elite = elites_.draw(rng);
    scheme = elite.scheme;
    time = target_of(problem_, elite.score);
  }
  if (rng.below(2) == 0) time = nearby_time(time, rng);
  WindowSearch windows(problem_);
  looked_at = stageplan::polish(problem_, windows, scheme, time, best_score(), rng);
  return scheme;
}

}  // namespace stageplan
