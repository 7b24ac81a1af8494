#include "kernels/packed_table.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "common/stop.h"

namespace stageplan {
namespace {

// A rounded stage time, and the word of its stage.
struct Ranked {
  std::uint32_t key, word;
};

// Least objective of a scheme with a stage on devices of this price.
double least_objective(const Problem& problem, const StageTable::Entry& stage, double price) {
  const double whole = problem.fixed_price + price * stage.devices;
  return objective_of(problem, price_plan(problem, stage.time, whole, 0, 0));
}

// Sorts by key: the bits of non-negative floats have the same order as the floats.
void radix_sort(std::vector<Ranked>& items) {
  std::vector<Ranked> other(items.size());
  for (int shift = 0; shift < 33; shift += 11) {
    check_stop();
    size_t starts[(1 << 11) + 1] = {};
    for (const Ranked& item : items) ++starts[(item.key >> shift & 2047) + 1];
    std::partial_sum(std::begin(starts), std::end(starts), std::begin(starts));
    for (const Ranked& item : items) other[starts[item.key >> shift & 2047]++] = item;
    items.swap(other);
  }
}

}  // namespace

PackedTable::PackedTable(const StageTable& table, const Problem& problem) {
  const size_t layers = problem.layers, types = problem.types;
  words.assign(layers * layers * types, kUnfit);
  const auto entry = [&](const Ranked& item) -> const StageTable::Entry& {
    return table.row(static_cast<int>(item.word / (layers * types)))[item.word % (layers * types)];
  };
  std::vector<Ranked> order;
  for (size_t first = 0; first < layers; ++first) {
    check_stop();
    for (size_t i = first * types; i < layers * types; ++i) {
      const Ranked item{0, static_cast<std::uint32_t>(first * layers * types + i)};
      const StageTable::Entry& stage = entry(item);
      if (stage.violation > 0) continue;
      if (stage.devices <= static_cast<int>(kMostDevices))
        order.push_back({std::bit_cast<std::uint32_t>(static_cast<float>(stage.time)), item.word});
      else
        least_unfit = std::min(least_unfit, least_objective(problem, stage, problem.price[i % types]));
    }
  }
  radix_sort(order);
  const auto faster = [&](const Ranked& a, const Ranked& b) { return entry(a).time < entry(b).time; };
  for (auto from = order.begin(); from != order.end();) {  // entries that rounding made equal
    check_stop_often();
    const auto to = std::find_if(from, order.end(), [&](const Ranked& item) { return item.key != from->key; });
    std::sort(from, to, faster);
    from = to;
  }
  for (const Ranked& item : order) {
    check_stop_often();
    const StageTable::Entry& stage = entry(item);
    if (times.empty() || stage.time > times.back()) times.push_back(stage.time);
    const auto rank = static_cast<std::uint32_t>(times.size() - 1);
    words[item.word] = rank << kDeviceBits | static_cast<std::uint32_t>(stage.devices);
  }
  if (times.empty()) times.push_back(0);  // every scheme is scored from the stage table
}

ShortStages::ShortStages(const PackedTable& packed, const Problem& problem) {
  const int layers = problem.layers, types = problem.types;
  constexpr int max_ranks = 65534;
  longest = std::min(kWidth, max_ranks / layers) / types;
  if (longest == 0) return;
  const size_t size = static_cast<size_t>(layers) * kWidth;
  const auto each = [&](auto visit) {
    for (int last = 0; last < layers; ++last)
      for (int n = 1; n <= std::min(longest, last + 1); ++n)
        for (int type = 0; type < types; ++type)
          visit(static_cast<size_t>(last) * kWidth + (n - 1) * types + type, type,
                packed.words[(static_cast<size_t>(last + 1 - n) * layers + last) * types + type]);
  };
  std::vector<std::uint16_t> rank_of(packed.times.size() + 1);  // the last entry stands for all that do not fit
  const auto place = [&](std::uint32_t word) {
    return word & PackedTable::kUnfit ? packed.times.size() : word >> PackedTable::kDeviceBits;
  };
  each([&](size_t, int, std::uint32_t word) { rank_of[place(word)] = 1; });
  words.push_back(0);
  for (size_t i = 0; i < rank_of.size(); ++i) {
    if (rank_of[i] == 0) continue;
    rank_of[i] = static_cast<std::uint16_t>(words.size());
    words.push_back(i < packed.times.size() ? static_cast<std::uint32_t>(i) << PackedTable::kDeviceBits
                                            : PackedTable::kUnfit);
  }
  ranks.resize(size);
  rank_bytes.resize(2 * size);
  devices.resize(size);
  if (types > kCountedTypes) prices.resize(2 * size);
  each([&](size_t i, int type, std::uint32_t word) {
    ranks[i] = rank_of[place(word)];
    devices[i] = static_cast<std::uint8_t>(word & PackedTable::kMostDevices);
    const size_t low = i / kWidth * 2 * kWidth + i % kWidth;
    rank_bytes[low] = static_cast<std::uint8_t>(ranks[i]);
    rank_bytes[low + kWidth] = static_cast<std::uint8_t>(ranks[i] >> 8);
    if (prices.empty()) return;
    const auto bits = std::bit_cast<std::uint64_t>(problem.price[type] * devices[i]);
    prices[low] = static_cast<std::uint32_t>(bits);
    prices[low + kWidth] = static_cast<std::uint32_t>(bits >> 32);
  });
}

}  // namespace stageplan
