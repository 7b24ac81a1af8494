// Local search at one target: replaces a few neighbouring stages by others, of any types and boundaries.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "common/rng.h"
#include "model/stage_table.h"
#include "search/schemes.h"

namespace stageplan {

// Moving one boundary worsens the fit of the stages on both sides; moving two at once, with free choice of the
// types, need not. Each stage takes the fewest devices that reach the target, so that a scheme's value is a sum
// over its stages and a penalty for devices above the limits, whose weight rises while limits are violated and
// falls while they are met. One object per thread; deterministic.
class WindowSearch {
 public:
  explicit WindowSearch(const Problem& problem);

  // Memory that one takes.
  static size_t bytes(const Problem& problem) {
    return static_cast<size_t>(problem.layers) * (problem.layers + 1) / 2 * (sizeof(Choices) + sizeof(double));
  }

  // Sets the target: the allowed stage time.
  void aim(double time);

  // Saves or loads what one call leaves to the next, before which the target is to be set.
  void transfer(State& state);

  // Improves a scheme until no window does. Returns the number of schemes evaluated.
  std::uint64_t descend(Genes& scheme);

  // Then, `trials` times, changes a random part and repairs it by descent; keeps changes that are not worse.
  std::uint64_t descend(Genes& scheme, Rng& rng, int trials);

 private:
  static constexpr int kWidest = 3;    // stages of a window, before and after
  static constexpr int kChoices = 4;   // types considered for a run
  static constexpr int kUnknown = -2;  // type of choices that are not computed yet
  struct PricedStage {
    int first, type;
    double price;  // $/hour, with a penalty for the stage's own violation
    int devices;
  };
  using Choices = std::array<PricedStage, kChoices>;  // of one run of layers, the cheapest first

  void load(const Genes& scheme);
  Genes scheme() const;
  double value() const;
  bool broken() const;
  double excess_price(int type, double devices) const;
  double penalized(const PricedStage& stage) const;
  int stage_at(int layer) const;
  void count(int left, int right, int times);

  PricedStage stage(int first, int last, int type) const;
  double least_price(int first, int last, int type) const;
  void prepare(int first, int last);
  void extend_row(int first, int last);
  Choices& choices(int first, int last);
  const PricedStage* pick(int first, int last, int not_this, int nor_this);

  void descend_marked();
  bool improve_from(int left);
  bool improve(int left, int right);
  void divide(const PricedStage& head, int end, int last, int behind);
  void consider(std::span<const PricedStage* const> stages);
  void replace(int left, int right);
  void mark(int left, int right);
  void kick(Rng& rng);
  size_t at(int first, int last) const {
    return static_cast<size_t>(first) * (2 * layers_ - first - 1) / 2 + last;
  }

  const Problem& problem_;
  const StageLoads loads_;
  const int layers_;
  const bool apart_;  // whether neighbours must have different types
  const bool limited_;
  const double heavy_;            // penalty, $/hour, of a stage's own violation
  double time_ = 0;               // of the target
  double rate_ = 0;               // minimum devices per second of work
  double weight_ = 1;             // penalty factor on the price of devices above the limit
  std::vector<double> work_;      // prefix sums over layers of $/hour times parallel seconds, by type
  std::vector<int> ends_;         // by first layer: the end of the runs prepared so far
  std::vector<double> least_;     // by first and last layer: the price of the cheapest type
  std::vector<Choices> choices_;  // the same way
  std::vector<PricedStage> stages_;
  std::vector<double> counts_;             // devices by type; while a window is tried, of the stages outside
  std::vector<const PricedStage*> tails_;  // of a window, by first layer
  std::vector<double> tail_values_;
  std::vector<char> marked_;       // first layers of stages whose windows have not been tried
  std::vector<PricedStage> best_;  // in place of the window
  double best_value_ = 0;
  std::uint64_t looked_at_ = 0;
};

}  // namespace stageplan
