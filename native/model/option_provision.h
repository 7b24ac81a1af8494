// Which option each stage of one scheme gets.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "model/merge.h"
#include "model/option_lists.h"
#include "model/schedule_choice.h"

namespace stageplan {

class ListedProvisioner;

// Keeps its buffers between schemes; one object a thread.
class OptionProvisioner {
 public:
  explicit OptionProvisioner(const Problem& problem);
  ~OptionProvisioner();

  // The first option, by devices, with which each stage takes at most `time`, or the fastest one.
  Score reach(const std::vector<Stage>& stages, double time);

  // The options with the least violation and then the best objective, among those that reach the goal's time;
  // if it is out of reach, the fewest devices for the shortest time. With a schedule the work on each group is
  // limited.
  Score best(const std::vector<Stage>& stages, std::uint64_t most_work);

  // Of each stage, of the last call; without devices if a stage has no option.
  const std::vector<Option>& chosen() const { return chosen_; }

  // Whether the last call of best() is proven to have found the best options.
  bool complete() const { return complete_; }

 private:
  bool list_options(const std::vector<Stage>& stages, const OptionGroup& group);
  template <class Choose>
  Score best_group(const std::vector<Stage>& stages, Choose choose);
  void choose_fitting(double time);
  void choose_without_schedule();
  bool add_devices();
  double slowest() const;
  Score score();

  const Problem& problem_;
  const OptionLists& lists_;
  std::unique_ptr<ListedProvisioner> listed_;  // finds the best options where all stages have some that fit
  ScheduleChoice schedule_choice_;
  OptionPlan plan_;
  std::vector<StageOptions> stages_;
  std::vector<int> choice_, best_choice_;
  std::vector<std::pair<double, int>> times_;  // heap of (time, -stage): the slowest first
  std::vector<Option> chosen_;
  bool complete_ = true;
};

}  // namespace stageplan
