#include "exact/tradeoff.h"

#include <algorithm>

namespace stageplan {
namespace {

struct Point {
  double time, price;
};

Point corner(const Line& a, const Line& b) {
  const double determinant = a.price * b.time - b.price * a.time;
  return {(b.value * a.price - a.value * b.price) / determinant,
          (a.value * b.time - b.value * a.time) / determinant};
}

// A point of a line, moved along it to where time and price are within their limits.
Point within(const Worth& worth, const Line& line, Point p) {
  if (p.price > worth.most_price)
    p = {(line.value - line.price * worth.most_price) / line.time, worth.most_price};
  if (p.time > worth.most_time) p = {worth.most_time, (line.value - line.time * worth.most_time) / line.price};
  return p;
}

struct Least {
  double objective = kInfinity, cost = kInfinity;
  int corner = -1;

  void take(const Worth& worth, const Point& p, int at) {
    const double time = std::max(p.time, 0.0), price = std::max(p.price, 0.0);
    cost = std::min(cost, worth.cost_scale * time * price);
    const double now = worth.objective_of(time, price);
    if (now >= objective) return;
    objective = now;
    corner = at;
  }
};

// The lines between the ends, each from its intersection with the previous one to that with the next. Every
// plan that keeps all lines has at least the time and price of some point of these segments, and on each
// segment one of its ends has the least product.
Least least_end(const Worth& worth, const Line* lines, int count) {
  Least least;
  for (int i = 1; i + 1 < count; ++i) {
    for (int side : {-1, 0}) {
      const Point p = within(worth, lines[i], corner(lines[i + side], lines[i + side + 1]));
      if (p.price > worth.most_price * (1 + kTolerance)) return {};
      least.take(worth, p, i + side);
    }
  }
  return least;
}

}  // namespace

double Worth::longest(double price) const {
  return price > 0 ? std::min(most_time, most_cost / (cost_scale * price)) : most_time;
}

double Worth::dearest(double time) const {
  return time > 0 ? std::min(most_price, most_cost / (cost_scale * time)) : most_price;
}

Ends Worth::ends(double least_time, double least_price) const {
  const double dear = dearest(least_time), long_ = longest(least_price);
  return {longest(dear), dear, long_, dearest(long_)};
}

double least_objective(const Worth& worth, const Line* lines, int count) {
  const double time = lines[count - 1].value / lines[count - 1].time, price = lines[0].value / lines[0].price;
  const auto endless = [](const Line& line) { return line.value == kInfinity; };
  if (std::any_of(lines, lines + count, endless)) return kInfinity;
  if (time > worth.most_time || price > worth.most_price) return kInfinity;
  if (time > 0 && price > 0 && worth.cost_scale * time * price > worth.most_cost) return kInfinity;
  const double ends = worth.objective_of(time, price);
  if (count == 2) return ends;
  const Least least = least_end(worth, lines, count);
  return least.cost > worth.most_cost ? kInfinity : std::max(ends, least.objective);
}

int least_corner(const Worth& worth, const Line* lines, int count) {
  return count == 2 ? 0 : least_end(worth, lines, count).corner;
}

}  // namespace stageplan
