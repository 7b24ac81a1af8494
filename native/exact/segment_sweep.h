// Shortest paths through the stages that reach a stage time, almost none of which is ever constructed. The work
// of a stage is a lower bound of the cost of its devices and is additive over layers: at each cut and for each
// type, the paths that a stage may continue are sorted by their totals minus the work up to their ends, so that
// a scan stops at the first one that cannot beat the best so far. Neighbours of one type must not merge: their
// serial parts add up, and the merged stage may miss a time that both reach.
#pragma once

#include <limits>
#include <optional>

#include "exact/segment_path.h"

namespace stageplan {

class SegmentSweep {
 public:
  SegmentSweep(const Problem& problem, const StageSource& stages);

  // The total of a shortest path whose cuts are multiples of `stride`, infinity if there is none. A stage of k
  // devices, the fewest that reach `high`, weighs price * k * its time, but at least `low`.
  double from_start(double low, double high, int stride = 1);

  // The same without paths that reach `most` with the `tails`, which are at most the totals from each cut
  // on.
  double from_start(double low, double high, double most, std::vector<Least> tails, int stride = 1);

  // The path of the last from_start, as a graph of its stages only.
  StageGraph path() const;

  // The stages on paths whose total is at most `most` by the last from_start, whose own limit must be at least
  // that; nothing if there are more than `most_arcs` of them.
  std::optional<StageGraph> promising(double most, size_t most_arcs = kAnyNumber);
  static constexpr size_t kAnyNumber = std::numeric_limits<size_t>::max();

  // Totals from each cut on, of the last promising(); infinite if they are on none of its paths.
  const std::vector<Least>& to_end() const { return end_; }

  // Stages examined so far, weighted roughly by the time needed.
  std::uint64_t work() const { return work_; }

 private:
  // A path that a stage may continue, to the cut where it ends.
  struct Open {
    double key;  // its total minus the price of the work of the layers up to there
    double total;
    int cut;
    int devices = 1;  // of the last stage that continued it
  };
  struct Type {
    int number, most_devices;
    double price, parallel_transfer;
    double rounding;                       // of a difference of the sums, seconds
    std::vector<double> serial, parallel;  // compute of the layers before each cut, seconds
    std::vector<double> work;              // price of these layers' work, reduced slightly for rounding
    std::vector<double> send, receive;     // transfer of a stage that ends or begins at a cut, seconds
    std::vector<Open> open;                // sorted, the least key last
  };

  bool is_cut(int cut) const { return cut % stride_ == 0 || cut == problem_.layers; }
  int apart(const Type& type) const { return neighbours_alike_ ? -1 : type.number; }
  double position(const Type& type, int cut) const;
  double weight_of(const Type& type, double serial, double parallel) const;
  double transfer_weight(const Type& type, double seconds) const;
  double serial(const Type& type, int first, int last) const;
  double parallel(const Type& type, int first, int last) const;
  double compute_weight(const Type& type, int first, int last) const;
  double least_weight(const Type& type, int first, int last, double computing) const;
  void add_sums(Type& type) const;
  void prefetch(const Type& type, int cut, const Open& path) const;
  double weight(const Arc& arc) const;
  double least_of(const Least& here, const Type& type) const;
  void begin(std::vector<Least>& totals, int cut, double direction);
  void open_paths(const std::vector<Least>& totals, int cut);
  void lengthen(int first, int last, int type);
  void lengthen_best(int from, int to);
  template <class Most, class Take>
  void walk(Type& type, int cut, const Most& most, const Take& take);

  const Problem& problem_;
  const StageSource& stages_;
  const ListedStages* const listed_;  // null by Amdahl's law
  const bool neighbours_alike_;
  std::vector<Type> types_;         // types with devices
  std::vector<Least> start_, end_;  // totals to and from each cut; their arcs are first * types + type
  std::vector<Least> tails_;
  double most_ = kInfinity;
  double low_ = 0, high_ = 0;  // seconds
  double direction_ = 1;       // of the scans: 1 if paths begin at the first cut, -1 at the last
  int stride_ = 1;
  std::uint64_t work_ = 0;
  std::uint64_t checked_ = 0;  // work at the last check for a stop
};

}  // namespace stageplan
