// The energy that annealing minimises: the score of a placement as one number, smooth where the score is not.
#pragma once

#include <utility>
#include <vector>

#include "model/provision.h"
#include "placement/placement.h"

namespace stageplan {

struct Appraisal {
  Score score;
  double energy = kInfinity;
};

// A power of the objective relative to the best known one, so that halving a gap counts the same at every
// scale. All slow stages count, slower ones more, not only the slowest: else most moves would change nothing. A
// violation is a penalty factor; while no plan is feasible the energy is the violation.
class Energy {
 public:
  explicit Energy(const Problem& problem);

  void set_unit(const Score& best) { unit_ = best; }
  void set_penalty(double penalty) { penalty_ = penalty; }

  // Energy of a placement; of_touched() assumes that untouched labels are as in the last call.
  Appraisal of(const Placement& placement);
  Appraisal of_touched(const Placement& placement);

  // To be called when the last moves are undone.
  void undo();

 private:
  // The part of a label, if every stage has one device.
  struct Part {
    double time = 0, pressure = 0, price = 0, violation = 0;
  };
  Part part(const Placement& placement, int label) const;
  Appraisal add_parts() const;
  Appraisal provision(const Placement& placement);
  double energy(const Score& score, double pressure) const;

  const Problem& problem_;
  const bool single_;  // whether every stage has one device
  std::vector<Part> parts_;
  std::vector<std::pair<int, Part>> saved_;  // (label, its part before)
  std::vector<Stage> stages_;
  Provisioner provisioner_;
  Score unit_;
  double penalty_ = 1;
};

}  // namespace stageplan
