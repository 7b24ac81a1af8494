// Aims among options: a stage time, and the weights by which options are chosen. Initial schemes are the
// cheapest ones for many aims.
#pragma once

#include <vector>

#include "model/options.h"
#include "search/elites.h"

namespace stageplan {

struct OptionAim {
  double time;
  OptionWeights weights;
  int group = 0;  // of Options::groups
};

// The scheme of least weight for the aim of a scorer; empty if none keeps to it, or the tables take too much
// memory.
Genes cheapest_at(const Scorer& scorer, const OptionAim& aim);

// The aim that leads to a scheme's best plan, but for weights of devices.
OptionAim aim_of(const Scorer& exact, const std::int8_t* scheme);

// Searches for the aims whose cheapest schemes are best for the goal.
class OptionAims {
 public:
  // Schemes are scored by `exact` and added to `elites` and `schemes`.
  OptionAims(const Scorer& exact, Elites& elites, Genes& schemes)
      : exact_(exact),
        problem_(exact.problem()),
        elites_(elites),
        schemes_(schemes),
        best_pressure_(exact.problem().types) {}

  // Starts at the stage time of `scheme`; returns the aim of the best scheme.
  OptionAim search(const Genes& scheme);

 private:
  // Multipliers that grow while limits are broken: on the weight of pass time, and, by type, what is added to
  // the price of a device, relative to it.
  struct Pressure {
    explicit Pressure(int types) : devices(types) {}
    double pass = 1;
    std::vector<double> devices;
  };
  // A scheme with the options of a table.
  struct Plan {
    Score score;
    double sync;                        // the longest of any stage
    std::vector<std::int64_t> devices;  // of each type
  };

  // The best of the schemes for a stage time.
  struct Candidate {
    OptionAim aim;
    Pressure pressure;
    Score score;
  };

  void try_groups(double longest);
  void try_best(size_t count);
  void try_near();
  void improve_near(double ratio);
  bool improve(OptionAim aim, Pressure& pressure);
  Score keep(const OptionAim& aim, const Pressure& pressure, const Genes& scheme);
  Plan plan_at(const OptionTable& table, const Genes& scheme);
  bool press(Pressure& pressure, const Plan& plan) const;
  OptionWeights weights(const Pressure& pressure, double price, double time) const;

  const Scorer& exact_;
  const Problem& problem_;
  Elites& elites_;
  Genes& schemes_;
  std::vector<Score> scores_;          // of the schemes
  std::vector<Candidate> candidates_;  // at the present cuts
  int stride_ = 1;                     // of the cuts
  OptionAim best_{};
  Pressure best_pressure_;
  Score best_score_;
  std::vector<Stage> stages_;
};

}  // namespace stageplan
