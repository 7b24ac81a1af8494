// Local search at one target: a few neighbouring stages are replaced by others, of any types and boundaries.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "rng.h"
#include "schemes.h"
#include "stage_table.h"

namespace stageplan {

// Moving one boundary alone spoils the fit of the stages on both sides; moving two at once, with free choice of
// the types, does not. Each stage takes the fewest devices that reach the target, so that a scheme is worth
// the sum of what its stages are worth, plus what its devices break of the limits, at a weight that rises
// while they do. Of each run of layers only the cheapest types are looked at. One object a thread.
class WindowSearch {
 public:
  explicit WindowSearch(const Problem& problem);

  // Sets the target: the allowed stage time.
  void aim(double time);

  // Improves a scheme until no window does. Returns how many schemes were looked at.
  std::uint64_t descend(Genes& scheme);

  // The same over and over from a scheme that is changed at random, as long as that does not make it worse.
  std::uint64_t descend(Genes& scheme, Rng& rng, int trials);

 private:
  static constexpr int kChoices = 4;
  static constexpr int kUnknown = -2;  // type of choices that have not been looked for
  struct Stage {
    int first, type;
    double price;  // $/hour, and what the stage violates by itself
    int devices;
  };
  using Choices = std::array<Stage, kChoices>;  // of one run of layers, the cheapest first

  void load(const Genes& scheme);
  Genes scheme() const;
  double value() const;
  bool broken() const;
  Stage stage(int first, int last, int type) const;
  void prepare(int first, int last);
  void extend_row(int first, int last);
  double least_price(int first, int last, int type) const;
  Choices& choices(int first, int last);
  void descend_marked();
  bool improve(int left, int right);
  double penalized(const Stage& stage) const;
  const Stage* pick(int first, int last, int not_this, int nor_this);
  void consider(const Stage* const* stages, int count);
  void replace(int left, int right);
  void kick(Rng& rng);
  double excess_price(int type, double devices) const;
  size_t at(int first, int last) const { return static_cast<size_t>(first) * layers_ + last; }

  const Problem& problem_;
  const StageLoads loads_;
  const int layers_;
  const bool apart_;  // neighbours have different types
  const bool limited_;
  double time_ = 0, heavy_ = 0, weight_ = 1;
  std::vector<int> ends_;         // by first layer: the runs of layers that are prepared end before it
  std::vector<Choices> choices_;  // by first and last layer
  std::vector<double> least_;     // the price of the first of them
  std::vector<double> work_;      // $/hour times seconds of the layers before each one, by type, that devices share
  double rate_ = 0;               // what a second of that costs at least, of a device-hour
  std::vector<Stage> stages_;
  std::vector<double> counts_;  // devices by type, of the stages outside the window
  std::vector<char> marked_;    // layers whose windows have not been looked at
  std::vector<Stage> best_;
  double best_value_ = 0;
  std::uint64_t looked_at_ = 0;
};

}  // namespace stageplan
