// The cheapest plan where stages share no limits: from one stage time to the next shorter one that matters. At
// a stage time the cheapest path per hour is a plan; at shorter ones devices are no fewer, so that no plan
// costs less than this price. Between the stage time and the one at which that price costs as much as the best
// plan, there is thus no better plan.
#pragma once

#include <vector>

#include "exact/stage_graph.h"

namespace stageplan {

// Keeps its buffers between graphs.
class Descent {
 public:
  explicit Descent(const Problem& problem);

  // Plans whose stage time is in (low, high], through stages that are sorted by first layer; `load_of` gives
  // their loads. Devices may be fewer than reach `high`, times are not read.
  template <class LoadOf>
  void begin(const std::vector<Arc>& stages, const LoadOf& load_of, double low, double high) {
    low_ = low;
    high_ = window_low_ = high;
    all_.resize(stages.size());
    for (size_t i = 0; i < stages.size(); ++i)
      all_[i] = {stages[i].first, stages[i].last, load_of(stages[i].first, stages[i].last, stages[i].type)};
    begin(stages);
  }

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
  // Stages by first layer, in arrays.
  struct Stages {
    std::vector<int> begins;       // where those of each first layer begin
    std::vector<int> id, devices;  // `id`: in all_
    std::vector<int> type, past;   // `past`: the cut after the stage
    std::vector<int> joins;        // where the totals that it joins there are
    std::vector<double> price;     // of the devices, $/hour
    std::vector<double> time;

    size_t size() const { return id.size(); }
    void resize(size_t size);
    void move(size_t from, size_t to);
  };
  struct Stage {
    int first, last;
    StageLoad load;
  };

  void begin(const std::vector<Arc>& stages);
  bool open_window(double most);
  bool narrow(Stages& stages, double low, double most);
  void reach(Stages& stages);
  void reach(Stages& stages, size_t i, double allowed);
  template <class Weight>
  double to_end(const Stages& stages, const Weight& weight);
  void from_start(const Stages& stages, double low);
  void spread(const Least& least, size_t cut, std::vector<double>& totals) const;
  double find_path();

  const Problem& problem_;
  const bool neighbours_alike_;
  double low_ = 0, high_ = 0;     // seconds
  double window_low_ = 0;         // of the stages of `window_`
  int steps_ = 0;                 // in the window
  double ratio_ = 0;              // of the ends of the next window
  double total_ = 0, bound_ = 0;  // of the last paths, of all of them
  double cost_ = 0;
  double price_ = 0;  // $/hour of the last path, if it was a plan; 0 after that
  std::vector<Stage> all_;
  Stages left_, window_;              // stages of better plans above `low_`, and of those in the window
  std::vector<Least> starts_, ends_;  // totals to and from each cut
  std::vector<double> start_, end_;   // the same for each type of the stage that joins there
  std::vector<Arc> path_;
  std::uint64_t work_ = 0;
};

}  // namespace stageplan
