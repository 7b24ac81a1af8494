// Which listed option each stage of one scheme gets without a schedule. Options are read where they are: unlike
// OptionProvisioner, which makes lists of those that count, it takes no longer for a stage that is new.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "model/listed_stages.h"
#include "model/merge.h"
#include "model/options.h"

namespace stageplan {

// Keeps its buffers between schemes; one object a thread.
class ListedProvisioner {
 public:
  explicit ListedProvisioner(const Problem& problem);

  // Whether options are listed, and those of one stage do not depend on those of others.
  static bool serves(const Problem& problem);

  // The best options, as of OptionProvisioner::best; nothing where a stage has none that fits.
  std::optional<Score> best(const std::vector<Stage>& stages);

  // Of each stage, of the last call that found some.
  std::vector<Option> chosen() const;

 private:
  // A stage, the option that it has and its fastest one.
  struct Sized {
    int type;
    ListedStages::Range options;
    std::uint32_t at, fastest;
    ListedStages::Bounds bounds;  // where work grows
  };

  bool begin(const std::vector<Stage>& stages);
  void reach(const std::vector<Stage>& stages, double time);
  double slowest() const;
  bool add_devices();
  bool can_improve(const Score& best);
  Score price(double time);

  const Problem& problem_;
  const Options& options_;
  const ListedStages& listed_;
  std::vector<Sized> stages_;
  double fastest_ = 0;    // lower bound of the stage time
  double violation_ = 0;  // of the number of stages
  std::vector<std::int64_t> counts_, rented_;
  std::vector<std::pair<double, int>> times_;  // heap of (time, -stage): the slowest first
  std::vector<std::uint32_t> best_;
};

}  // namespace stageplan
