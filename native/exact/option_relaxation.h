// What the plans of a range of slowest stages are worth at least: shortest paths for several weightings of time
// against price, with multipliers for the limits of devices, each of which bounds a weighted sum of both.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "exact/option_paths.h"
#include "exact/tradeoff.h"

namespace stageplan {

// What plans have in common: the formula of their time, and how many devices of each type they may have.
struct PlanTerms {
  explicit PlanTerms(const Problem& problem);

  double slowest, pass;       // weights of the longest time and of the sum of passes in the time of a plan
  double fixed_price;         // $/hour
  std::vector<double> limit;  // devices; of whole machines where these are rented
  std::vector<int> limited;   // types whose devices are

  double time(double longest, double passes, double sync) const {
    return slowest * longest + pass * passes + sync;
  }
};

// A weighting of time and price, and the least that any path weighs, less what the limits allow.
struct Weighting {
  double time, price;
  std::vector<double> devices;  // multipliers
  double value = 0;
};

class OptionRelaxation {
 public:
  // `weightings`: the first of price alone, the last of time alone; those known of a wider range.
  // `positions`: all of the graph's or the first of them.
  OptionRelaxation(const Problem& problem, const PlanTerms& terms, const OptionGraph& graph,
                   const SlowestRange& range, const Worth& worth, const Positions& positions,
                   std::vector<Weighting>& weightings);

  // Rounds of shortest paths until no plan counts or more of them would not help; shows each one. `worth` may
  // be raised by that.
  using Visit = std::function<void(const OptionPath&)>;
  void raise(int rounds, const Visit& visit);

  // The least objective of the plans that count; infinity where there are none.
  double least() const;

  // Weighs the paths to each stage too; `narrow` and `least_through` need that.
  void look_back();

  // Whether an arc may be in a plan that counts, its positions cut down to those where it may.
  bool narrow(OptionArc& arc) const;

  // What the plans are worth that end with these stages, the first of which is at a position.
  struct Ending {
    double pass, price, time, sync;
    double rent;                  // $/hour of whole machines; 0 where they are not asked for
    const std::int32_t* devices;  // of each type; null where their limits do not count
    int cut, type, position;
  };
  double least_through(const Ending& ending) const;

  std::uint64_t work() const { return work_; }

 private:
  struct Weighed {
    ArcWeights weights;
    std::unique_ptr<OptionPaths> paths;  // none where the value is of a wider range
    double allowed = 0;                  // by the limits
    double time = 0, price = 0;          // of its path, at the least times of the range
  };

  bool matters(int index) const;
  bool refresh_worst(const Visit& visit);
  static double steepness(const Line& a, const Line& b);
  double steepness_at_limit(const Line* lines, int count) const;
  void drop_farthest(double slope);
  void refresh(int index, const Visit& visit);
  double aim(const Weighting& weighting) const;
  double weigh(int index, const std::vector<double>& devices);
  std::vector<double> slope(const OptionPath& path, const std::vector<double>& devices) const;
  double through(int index, const OptionArc& arc, double* by_position) const;
  void cut_positions(OptionArc& arc, const double* by_position, double most) const;
  void set_lines(const double* values, double time, double sync, Line* lines) const;
  double least_of(const double* values, double time, double sync) const;

  static constexpr int kMost = 6;  // weightings

  const Problem& problem_;
  const PlanTerms& terms_;
  const OptionGraph& graph_;
  const SlowestRange& range_;
  const Worth& worth_;
  const Positions positions_;
  std::vector<Weighting>& weightings_;
  std::vector<Weighed> weighed_;
  std::vector<double> most_;             // weight of a plan that counts, by weighting
  mutable std::vector<double> through_;  // (weightings, positions): what paths through an arc weigh
  std::uint64_t work_ = 0;
};

}  // namespace stageplan
