// How many devices each stage of one scheme gets.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "model/merge.h"
#include "model/option_provision.h"

namespace stageplan {

// Whether `now` is better than `best` by more than a tie.
bool improves_beyond_tie(const Problem& problem, const Score& now, const Score& best);

// Keeps its buffers between schemes; one object a thread.
class Provisioner {
 public:
  explicit Provisioner(const Problem& problem);

  // The fewest devices with which every stage takes at most `time`.
  Score reach(const std::vector<Stage>& stages, double time);

  // The best devices for the goal: every useful state has the fewest devices for some stage time, so a walk
  // that gives one device at a time to the slowest stage visits all of them. Starts where the goal's stage time
  // is reached and adds at most `steps` devices; among ties the fewest devices win. A scheme that cannot reach
  // that time gets the fewest devices for its shortest time.
  Score best(const std::vector<Stage>& stages, int steps = kAllSteps);

  // Calls `visit` with the score of the useful states within the limits on devices and price, from the goal's
  // stage time on, until it returns false; states faster than `fastest` only while they may be cheaper. After
  // kAllSteps states only some: those at the `targets`, the slowest first, and between these some that are a
  // little faster each.
  using Visit = std::function<bool(const Score& score)>;
  void visit_all(const std::vector<Stage>& stages, const std::vector<double>& targets, double fastest,
                 const Visit& visit);

  // Devices of each stage, of the last call.
  const std::vector<int>& devices() const { return devices_; }

  // The option of each stage, of the last call, where stages are chosen among options.
  const std::vector<Option>& chosen() const { return by_options_->chosen(); }

  static constexpr int kAllSteps = 1 << 16;

  // Whether the last call of best() considered all devices that may be better, not only `steps` of them.
  bool complete() const { return complete_; }

  // States visited so far, in all calls.
  std::uint64_t looked_at() const { return looked_at_; }

 private:
  Score choose_options(const Score& score);
  bool set_devices(double time);
  void set_times();
  Score score() const;
  bool add_device();
  bool go_faster(std::uint64_t step, const std::vector<double>& targets);
  void jump_to_fastest();
  Score walk(int steps);
  bool can_improve(const Score& best) const;

  const Problem& problem_;
  std::unique_ptr<OptionProvisioner> by_options_;  // does everything if stages are chosen among options
  const std::vector<Stage>* stages_ = nullptr;
  double stage_violation_ = 0;
  std::vector<int> devices_;
  std::vector<std::int64_t> counts_;           // devices of each type
  std::vector<std::pair<double, int>> times_;  // heap of (time, -stage): the slowest first
  std::vector<int> best_devices_;
  bool complete_ = true;
  std::uint64_t looked_at_ = 0;
};

}  // namespace stageplan
