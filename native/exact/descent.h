// The cheapest plan where stages share no limits: from one stage time to the next shorter one that matters. At
// a stage time the cheapest path per hour is a plan; at shorter ones devices are no fewer, so that no plan
// costs less than this price. Between the stage time and the one at which that price costs as much as the best
// plan, there is thus no better plan.
#pragma once

#include <numeric>
#include <vector>

#include "exact/stage_graph.h"

namespace stageplan {

// Keeps its buffers between graphs.
class Descent {
 public:
  // `most_devices`: of a stage, beside the limits of the problem.
  explicit Descent(const Problem& problem, int most_devices = kMaxDevices);

  // Plans whose stage time is in (low, high], through stages that are sorted by first layer; `load_of` gives
  // their loads. Devices may be fewer than reach `high`, times are not read.
  template <class LoadOf>
  void begin(const std::vector<Arc>& stages, const LoadOf& load_of, double low, double high) {
    prepare(stages.size(), low, high);
    for (const Arc& stage : stages) add(stage, load_of(stage.first, stage.last, stage.type));
    std::partial_sum(left_.begins.begin(), left_.begins.end(), left_.begins.begin());
  }

  // The same through stages that have listed options.
  void begin(const std::vector<Arc>& stages, const ListedStages& options, double low, double high);

  // Goes on to a plan whose devices cost less than `most`, $/hour times seconds per example; false if there is
  // none, or until `work` is reached.
  bool next(double most, std::uint64_t work);

  // The stages of that plan.
  const std::vector<Arc>& path() const { return path_; }

  // What it costs, and a lower bound for all plans that are not ruled out yet.
  double cost() const { return cost_; }
  double bound() const { return bound_; }

  // Up to which no better plan takes as long; seconds.
  double high() const { return high_; }
  bool done() const { return high_ <= low_; }

  // Stages examined so far, weighted roughly by the time needed.
  std::uint64_t work() const { return work_; }

 private:
  struct Stage {
    int first, last, type;
    StageLoad load;
  };
  // Of a stage with listed options.
  struct Listed {
    ListedStages::Range options;
    int type;
  };
  // A stage with the devices that it has in the interval. Totals of paths are at cut * types + type.
  struct Choice {
    double price;  // of the devices, $/hour; infinite if no number of them is fast enough
    double time;
    int from, to;  // where the totals are of the paths that begin with it, and of those that it joins
    int size;      // devices; of listed options, the place among those of the stage
    int id;        // in all_
  };
  // By first layer; the rest of `list` is room.
  struct Choices {
    std::vector<int> begins;
    std::vector<Choice> list;

    size_t size() const { return begins.back(); }
  };

  void prepare(size_t stages, double low, double high);
  void add(const Arc& stage, const StageLoad& load);
  bool open_window(double most);
  bool narrow(Choices& choices, Choices& kept, double low, double most);
  void reach(Choice& choice);
  void reach_listed(Choice& choice) const;
  int devices(const Choice& choice) const;
  template <class Weight>
  double to_end(Choices& choices, const Weight& weight);
  double join(double* totals) const;
  double find_path(double price);

  const Problem& problem_;
  const bool neighbours_alike_;
  const ListedStages* listed_ = nullptr;  // the options, if they are listed
  std::vector<int> most_devices_;         // of a stage on each type
  double low_ = 0, high_ = 0;             // seconds
  double window_low_ = 0;                 // of the stages of `window_`
  int steps_ = 0;                         // in the window
  double ratio_ = 0;                      // of the ends of the next window
  double least_ = 0;                      // total of the last paths
  double bound_ = 0;                      // of all of them
  double cost_ = 0;
  double price_ = 0;  // $/hour of the last path, if it was a plan; 0 after that
  std::vector<Stage> all_;
  std::vector<Listed> all_listed_;
  Choices left_, window_;            // of better plans above `low_`, and of those in the window
  std::vector<double> weight_;       // of the choices that are narrowed
  std::vector<double> start_, end_;  // least totals to and from each cut, for each type of the stage that joins
  std::vector<Arc> path_;
  std::uint64_t work_ = 0;
};

}  // namespace stageplan
