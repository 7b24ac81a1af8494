// The best schemes that a search has seen.
#pragma once

#include <vector>

#include "common/rng.h"
#include "search/schemes.h"

namespace stageplan {

// Each is exactly provisioned: its stage time is a promising target.
class Elites {
 public:
  struct Elite {
    Score score;
    Genes scheme;
  };

  // Keeps a scheme if it is one of the best and not a duplicate.
  void add(const Problem& problem, const Score& score, const Genes& scheme);

  // A random one; better ones are more likely.
  const Elite& draw(Rng& rng) const;

  void transfer(State& state, const Problem& problem);

  bool empty() const { return elites_.empty(); }
  const Elite& best() const { return elites_.front(); }
  const std::vector<Elite>& all() const { return elites_; }

 private:
  std::vector<Elite> elites_;  // the best first
};

}  // namespace stageplan
