// What annealing lowers: the score of a placement as one number, smooth where the score is not.
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

// The objective in units of the best known, to a power, so that halving a distance means the same at every
// scale. All slow stages count, the slower the more, not the slowest alone: else most moves would change
// nothing. A violation is a factor, by a penalty; while nothing feasible is known it is the energy itself.
class Energy {
 public:
  explicit Energy(const Problem& problem);

  void set_unit(const Score& best) { unit_ = best; }
  void set_penalty(double penalty) { penalty_ = penalty; }

  // Of a placement, and of one whose untouched labels are as they were when last seen.
  Appraisal of(const Placement& placement);
  Appraisal of_touched(const Placement& placement);

  // The last moves were taken back.
  void undo();

 private:
  // What a label adds where every stage has one device.
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
