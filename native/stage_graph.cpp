#include "stage_graph.h"

#include <algorithm>
#include <cmath>

namespace stageplan {
namespace {

int most_devices(const Problem& problem, int type) {
  return static_cast<int>(std::min<double>(problem.max_devices_per_stage, problem.limit[type]));
}

std::optional<Arc> reach(const Problem& problem, const StageLoad& load, int first, int last, int type,
                         double time) {
  const Devices devices = devices_for(problem, load, type, time);
  if (!devices.reached || devices.count > most_devices(problem, type)) return std::nullopt;
  return Arc{first, last, type, devices.count, stage_time(problem, load, devices.count)};
}

// Whether the stage, and so every longer one, breaks a limit: its transfer may shrink as it grows, the rest
// may not.
bool too_long(const Problem& problem, const StageLoad& load, int type, double time) {
  return stage_violation(problem, load, type) > 0 ||
         !meets(load.compute_time(most_devices(problem, type)), time);
}

// Infinite where the type cannot run the layer, also at no price.
double work_price(const Problem& problem, int layer, int type) {
  const double seconds = problem.compute[static_cast<size_t>(layer) * problem.types + type];
  return seconds == kInfinity ? kInfinity : problem.price[type] * seconds;
}

}  // namespace

std::vector<double> least_prices(const Problem& problem) {
  std::vector<double> prices(problem.layers, kInfinity);
  for (int l = 0; l < problem.layers; ++l)
    for (int t = 0; t < problem.types; ++t)
      if (problem.limit[t] >= 1) prices[l] = std::min(prices[l], work_price(problem, l, t));
  return prices;
}

StageGraph::StageGraph(const Problem& problem, const StageLoads& loads, double time, int stride, double excess)
    : time_(time) {
  const std::vector<double> least = least_prices(problem);
  for (int first = 0; first < problem.layers; ++first) {
    begins_.push_back(arcs_.size());
    if (first % stride != 0) continue;
    for (int type = 0; type < problem.types; ++type) {
      if (problem.limit[type] < 1) continue;
      double spare = excess;
      for (int last = first; last < problem.layers; ++last) {
        spare -= work_price(problem, last, type) - least[last];
        if (!(spare >= 0)) break;
        if ((last + 1) % stride != 0 && last + 1 != problem.layers) continue;
        const StageLoad load = loads(first, last, type);
        if (too_long(problem, load, type, time)) break;
        if (const auto arc = reach(problem, load, first, last, type, time)) arcs_.push_back(*arc);
      }
    }
  }
  begins_.push_back(arcs_.size());
}

namespace {

// Prices of work at a stage time, $/hour: no stage costs less than its work, nor than one device.
struct WorkPrices {
  std::vector<double> tail;    // of the layers from each on, on the cheapest types
  std::vector<double> excess;  // (types, layers): above that of the cheapest type
  std::vector<double> price;   // (types, layers)

  WorkPrices(const Problem& problem, double time) : tail(problem.layers + 1) {
    const std::vector<double> least = least_prices(problem);
    for (int l = problem.layers - 1; l >= 0; --l) tail[l] = tail[l + 1] + least[l] / time * (1 - kTolerance);
    for (int t = 0; t < problem.types; ++t)
      for (int l = 0; l < problem.layers; ++l) {
        price.push_back(work_price(problem, l, t) / time * (1 - kTolerance));
        excess.push_back(price.back() - (tail[l] - tail[l + 1]));
      }
  }
};

// Fewer do not reach the time by computing alone, which must be within reach.
double least_devices(const StageLoad& load, double time) {
  const double spare = time * (1 + kTolerance) - load.serial_compute;
  return spare > 0 ? std::ceil(load.parallel_compute / spare * (1 - kTolerance)) : 1;
}

}  // namespace

StageGraph StageGraph::cheap(const Problem& problem, const StageLoads& loads, double time, int stride,
                             double most_price) {
  StageGraph graph(time);
  const WorkPrices work(problem, time);
  const bool alike = problem.labels() > problem.types;
  const double most = most_price * (1 + kTolerance);
  std::vector<Least> start(problem.layers + 1);
  start[0].best = 0;
  for (int first = 0; first < problem.layers; ++first) {
    graph.begins_.push_back(graph.arcs_.size());
    const Least here = start[first];
    for (int type = 0; type < problem.types && here.best < kInfinity; ++type) {
      if (problem.limit[type] < 1) continue;
      const double *excess = &work.excess[static_cast<size_t>(type) * problem.layers],
                   *layer_price = &work.price[static_cast<size_t>(type) * problem.layers];
      const double price = problem.price[type], before = here.without(type);
      double spare = most - before - work.tail[first], worth = 0;
      for (int last = first; last < problem.layers; ++last) {
        spare -= excess[last];
        if (!(spare >= 0)) break;
        worth += layer_price[last];
        if ((last + 1) % stride != 0 && last + 1 != problem.layers) continue;
        if (price - worth > spare) continue;  // one device, too dear for so little work
        const StageLoad load = loads(first, last, type);
        if (too_long(problem, load, type, time)) break;
        const double behind = work.tail[last + 1];
        if (before + price * least_devices(load, time) + behind > most) continue;
        const auto arc = reach(problem, load, first, last, type, time);
        if (!arc) continue;
        const double total = before + price * arc->devices;
        if (total + behind > most) continue;
        start[last + 1].offer(total, 0, alike ? -1 : type);
        graph.arcs_.push_back(*arc);
      }
    }
  }
  graph.begins_.push_back(graph.arcs_.size());
  return graph;
}

StageGraph::StageGraph(const Problem& problem, const StageLoads& loads, const StageGraph& wider,
                       const std::vector<char>& marked, double time)
    : time_(time) {
  for (int first = 0; first < problem.layers; ++first) {
    begins_.push_back(arcs_.size());
    for (size_t i = wider.begin(first); i < wider.begin(first + 1); ++i) {
      const Arc& arc = wider[i];
      if (!marked[i]) continue;
      if (meets(arc.time, time))
        arcs_.push_back(arc);
      else if (const auto faster =
                   reach(problem, loads(first, arc.last, arc.type), first, arc.last, arc.type, time))
        arcs_.push_back(*faster);
    }
  }
  begins_.push_back(arcs_.size());
}

std::vector<std::int8_t> scheme_of(const Problem& problem, const StageGraph& graph,
                                   const std::vector<int>& path) {
  const bool split = problem.labels() > problem.types;
  std::vector<std::int8_t> scheme(problem.layers);
  int before = -1;
  for (int i : path) {
    const Arc& arc = graph[i];
    int label = split ? 2 * arc.type : arc.type;
    if (label == before) ++label;
    std::fill(scheme.begin() + arc.first, scheme.begin() + arc.last + 1, static_cast<std::int8_t>(label));
    before = label;
  }
  return scheme;
}

}  // namespace stageplan
