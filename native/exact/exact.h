// The exact search: branch and bound over the stage time. All plans whose slowest stage takes from `low` to
// `high` seconds are paths through one stage graph, where a stage of k devices costs at least price * k *
// max(low, its time), k being the fewest that reach `high`: k times the time never falls as k grows. The
// shortest path within the limits is a bound for them all, and itself a candidate plan.
#pragma once

#include <memory>
#include <vector>

#include "exact/label_setting.h"
#include "exact/matrix_sweep.h"
#include "exact/pricing.h"
#include "exact/segment_sweep.h"
#include "search/search.h"

namespace stageplan {

class Exact : public Search {
 public:
  // Whether it searches a problem; there is another search for the others (exact/option_search.h).
  static bool serves(const Problem& problem) { return StageSource::serves(problem); }

  // `initial`: initial schemes; without, the homogeneous ones. Throws std::invalid_argument if stages are not
  // intervals of layers. `known`: what it shares with others.
  Exact(const Problem& problem, const Genes& initial, const KnownStages& known = {});

  // A slice of the work: some intervals of stage times.
  void step() override;

  // Continues while the next interval is expected to stay within this total work.
  void advance(std::uint64_t work);

  double bound() const override;
  void transfer(State& state) override;

  // Arcs, labels and numbers of devices examined so far.
  std::uint64_t work() const override { return work_; }

  // The best scheme and those tried lately.
  Genes tried() const override;

 protected:
  enum class Aim { cheapest, any };  // path within the limits

  // All plans whose stage time is in (low, high].
  struct Interval {
    double low, high;
    double bound;                                     // of the objective of any plan in it
    std::shared_ptr<const StageGraph> graph;          // null while it would have too many stages
    std::shared_ptr<const std::vector<Least>> tails;  // then, if known, the least totals to the end
    Multipliers multipliers;
    size_t width;  // of the label setting
    Aim aim;
  };
  // The result of processing an interval.
  struct NodeResult {
    double bound = kInfinity;  // cost of stage time and devices
    bool exact = false;        // whether `path` is the cheapest
    std::vector<Arc> path;     // behind the bound; if not exact it may violate the limits
    bool within = false;       // whether a path within the limits was found
    std::shared_ptr<const StageGraph> graph;
  };

  // The value that plans with a stage time above `low` have to beat; intervals that cannot are closed.
  virtual double to_beat(double) const { return least(); }

  // Scores a scheme found during the search.
  virtual void try_scheme(const Genes& scheme);
  void count(std::uint64_t work) { work_ += work; }

  // Opens the initial intervals.
  virtual void start();
  // `swept`: whether to try the shortest path of each interval first, which is not useful for objective
  // throughput.
  void begin(double low, double high, bool swept);

  virtual double branching_time(const Interval& interval, const NodeResult& found) const;

  const Pricing& pricing() const { return pricing_; }
  const StageLoads& loads() const { return *loads_; }

  // Least bound of the plans that take at most `time`, except those in closed intervals.
  double open_bound(double time = kInfinity) const;

 private:
  // An interval abandoned as too narrow.
  struct Abandoned {
    double low, bound;
  };

  struct Shared {
    SharedState<StageGraph> graphs;
    SharedState<std::vector<Least>> tails;
  };

  void transfer(State& state, Interval& interval, Shared& shared) const;
  static bool later(const Interval& a, const Interval& b);
  void try_coarsely(double low, double high, int stride);
  void process_first();
  void look_into(Interval& interval);
  void descend(Interval& interval);
  void descend(Interval& interval, const std::vector<Arc>& stages, double high);
  bool may_descend() const;
  void make_matrix();
  double most_price(const Interval& interval) const;
  Interval all_plans(double low, double high, int stride, Aim aim);
  double longest_stage(double high) const;
  bool make_graph(Interval& interval);
  void make_or_branch(Interval& interval, double most, const std::vector<Arc>& path);
  void process_next();
  std::uint64_t next_work() const;
  NodeResult bound_node(Interval& interval);
  void set_labels(const Interval& interval, NodeResult& found);
  std::shared_ptr<const StageGraph> narrowed(const StageGraph& graph, const std::vector<char>& marked,
                                             double time);
  Demand demand_of(const Interval& interval, const StageGraph& graph) const;
  double most_cost(const Interval& interval) const;
  void consider(const StageGraph& graph, const std::vector<int>& path);
  void consider(const std::vector<Arc>& path);
  void branch_cost(Interval& interval, const NodeResult& found);
  void branch_time(Interval& interval, const NodeResult& found);
  double affordable_time(const Interval& interval, const std::vector<Arc>& path, double otherwise) const;
  void branch_at(const Interval& interval, double time);
  void increase_width(Interval& interval);
  void abandon(const Interval& interval) { abandoned_.push_back({interval.low, interval.bound}); }
  void push(Interval interval);
  Multipliers no_multipliers() const { return {std::vector<double>(problem_.types), 0}; }
  bool closed(double bound, double low) const;
  bool closed(const Interval& interval) const { return closed(interval.bound, interval.low); }
  Interval pop();
  void finish_if_closed();

  const std::shared_ptr<const StageLoads> loads_;
  const StageSource stages_;
  const Pricing pricing_;
  Provisioner provisioner_;
  std::vector<Stage> merged_;  // of the last scheme tried
  std::optional<SegmentSweep> sweep_;
  SegmentPath paths_;
  std::shared_ptr<const StageMatrix> matrix_;
  std::vector<double> weight_;  // of the arcs of the last graph, with multipliers
  std::vector<Interval> open_;  // a heap, least effort first
  size_t kept_open_ = 0;        // their number when closed ones were last removed
  std::vector<Genes> recent_;   // schemes tried lately
  std::vector<Abandoned> abandoned_;
  std::uint64_t work_ = 0;
  bool started_ = false;
  bool descends_ = false;
};

}  // namespace stageplan
