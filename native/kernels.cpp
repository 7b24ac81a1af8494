#include "kernels.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <numeric>
#include <stdexcept>

#include "kernel_sets.h"
#include "threads.h"

namespace stageplan {
namespace {

struct InstructionSet {
  const char* name;
  bool (*supported)();
  Kernel kernel;
  std::uint8_t (*largest_gene)(const std::int8_t*, size_t);
};

bool always() { return true; }

#if STAGEPLAN_X86
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2"); }
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vbmi2");
}
const InstructionSet kSets[] = {{"avx512", has_avx512, avx512::score_schemes, avx2::largest_gene},
                                {"avx2", has_avx2, avx2::score_schemes, avx2::largest_gene},
                                {"baseline", always, baseline::score_schemes, baseline::largest_gene}};
#else
const InstructionSet kSets[] = {{"baseline", always, baseline::score_schemes, baseline::largest_gene}};
#endif

const InstructionSet& choose_set() {
  const char* name = std::getenv("STAGEPLAN_ISA");
  std::string known;
  for (const InstructionSet& set : kSets) {
    if (!set.supported()) continue;
    if (name == nullptr || std::string(name) == set.name) return set;
    known += (known.empty() ? "" : ", ") + std::string(set.name);
  }
  throw std::invalid_argument("STAGEPLAN_ISA is '" + std::string(name) + "'; this processor has " + known);
}

const InstructionSet& chosen_set() {
  static const InstructionSet& set = choose_set();
  return set;
}

// Words index the stages with 32 bits; above this size schemes are scored from the stage table.
constexpr size_t kMostWords = size_t{1} << 24;

}  // namespace

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const InstructionSet& set : kSets)
    if (set.supported()) names.emplace_back(set.name);
  return names;
}

std::string instruction_set() { return chosen_set().name; }

namespace {

// A stage time, rounded, and the word of its stage.
struct Ranked {
  std::uint32_t key, word;
};

// Sorts by key: bits of non-negative floats order as the floats do.
void radix_sort(std::vector<Ranked>& items) {
  std::vector<Ranked> other(items.size());
  for (int shift = 0; shift < 33; shift += 11) {
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
  for (size_t first = 0; first < layers; ++first)
    for (size_t i = first * types; i < layers * types; ++i) {
      const Ranked item{0, static_cast<std::uint32_t>(first * layers * types + i)};
      const StageTable::Entry& stage = entry(item);
      if (stage.violation == 0 && stage.devices <= static_cast<int>(kMostDevices))
        order.push_back({std::bit_cast<std::uint32_t>(static_cast<float>(stage.time)), item.word});
    }
  radix_sort(order);
  const auto sooner = [&](const Ranked& a, const Ranked& b) { return entry(a).time < entry(b).time; };
  for (auto from = order.begin(); from != order.end();) {  // those that rounding made equal
    const auto to = std::find_if(from, order.end(), [&](const Ranked& item) { return item.key != from->key; });
    std::sort(from, to, sooner);
    from = to;
  }
  for (const Ranked& item : order) {
    const StageTable::Entry& stage = entry(item);
    if (times.empty() || stage.time > times.back()) times.push_back(stage.time);
    const auto rank = static_cast<std::uint32_t>(times.size() - 1);
    words[item.word] = rank << kDeviceBits | static_cast<std::uint32_t>(stage.devices);
  }
  if (times.empty()) times.push_back(0);  // every scheme is scored from the stage table
}

ShortStages::ShortStages(const PackedTable& packed, const Problem& problem) {
  const int layers = problem.layers, types = problem.types;
  constexpr int most_ranks = 65534;
  longest = std::min(kWidth, most_ranks / layers) / types;
  if (longest == 0) return;
  const size_t size = static_cast<size_t>(layers) * kWidth;
  const auto each = [&](auto visit) {
    for (int last = 0; last < layers; ++last)
      for (int n = 1; n <= std::min(longest, last + 1); ++n)
        for (int type = 0; type < types; ++type)
          visit(static_cast<size_t>(last) * kWidth + (n - 1) * types + type, type,
                packed.words[(static_cast<size_t>(last + 1 - n) * layers + last) * types + type]);
  };
  std::vector<std::uint16_t> rank_of(packed.times.size() + 1);  // the last one for all that do not fit
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
  devices.resize(size);
  if (types > kCountedTypes) prices.resize(2 * size);
  each([&](size_t i, int type, std::uint32_t word) {
    ranks[i] = rank_of[place(word)];
    devices[i] = static_cast<std::uint8_t>(word & PackedTable::kMostDevices);
    if (prices.empty()) return;
    const auto bits = std::bit_cast<std::uint64_t>(problem.price[type] * devices[i]);
    const size_t low = i / kWidth * 2 * kWidth + i % kWidth;
    prices[low] = static_cast<std::uint32_t>(bits);
    prices[low + kWidth] = static_cast<std::uint32_t>(bits >> 32);
  });
}

Scorer::Scorer(const Problem& problem, int steps)
    : problem_(problem), loads_(problem), steps_(steps), at_target_(false), table_(problem, loads_, 1.0, 0) {}

Scorer::Scorer(const Problem& problem, double time)
    : problem_(problem),
      loads_(problem),
      time_(time),
      at_target_(true),
      table_(problem, loads_, time, problem.merge == Merge::adjacent ? StageTable::kMaxBytes : 0) {
  const size_t layers = problem.layers;
  if (!table_.stored() || layers * layers * problem.types > kMostWords) return;
  bucket_limits_.assign(kBuckets, 254);
  for (int t = 0; t < problem.types; ++t) {
    limit_words_.push_back(static_cast<std::uint16_t>(std::min(problem.limit[t], 65535.0)));
    bucket_limits_[t % kBuckets] =
        static_cast<std::uint8_t>(std::min<int>(bucket_limits_[t % kBuckets], limit_words_[t]));
  }
  packed_ = std::make_unique<PackedTable>(table_, problem);
  short_stages_ = std::make_unique<ShortStages>(*packed_, problem);
  kernel_ = chosen_set().kernel;
}

bool Scorer::score(const std::int8_t* schemes, size_t count, const ScoreArrays& scores, int threads) const {
  constexpr size_t part = 2048;
  const size_t parts = (count + part - 1) / part;
  if (threads <= 1 || parts <= 1) return score_part(schemes, count, scores);
  std::atomic<bool> fine{true};
  parallel_for(parts, threads, [&](size_t i) {
    const size_t from = i * part, size = std::min(part, count - from);
    if (!score_part(schemes + from * problem_.layers, size, scores.from(from))) fine = false;
  });
  return fine;
}

Score Scorer::score(const std::int8_t* scheme) const {
  Score result;
  score_part(scheme, 1, {&result.cost, &result.time, &result.violation});
  return result;
}

bool Scorer::score_part(const std::int8_t* schemes, size_t count, const ScoreArrays& scores) const {
  if (kernel_) {
    const int label_shift = problem_.labels() > problem_.types ? 1 : 0;
    return kernel_({*this, packed_->words.data(), *short_stages_, packed_->times.data(), problem_.price.data(),
                    problem_.limit.data(), problem_.limit_weight().data(), limit_words_.data(),
                    bucket_limits_.data(), problem_.layers, problem_.types, problem_.labels(), label_shift},
                   schemes, count, scores);
  }
  if (first_bad_gene(schemes, count * problem_.layers, problem_.labels()) < count * problem_.layers)
    return false;
  if (at_target_ && problem_.merge == Merge::adjacent)
    for (size_t i = 0; i < count; ++i) scores.set(i, score_by_table(schemes + i * problem_.layers));
  else
    provision(schemes, count, scores);
  return true;
}

Score Scorer::score_by_table(const std::int8_t* scheme) const {
  std::int64_t counts[kMaxLabels] = {};
  double time = 0, violation = 0, price = problem_.fixed_price;
  for (int first = 0, last; first < problem_.layers; first = last + 1) {
    const std::int8_t label = scheme[first];
    for (last = first; last + 1 < problem_.layers && scheme[last + 1] == label;) ++last;
    const int type = problem_.type_of(label);
    const StageTable::Entry entry =
        table_.stored() ? table_.row(first)[last * problem_.types + type] : table_.make(first, last, type);
    time = std::max(time, entry.time);
    violation += entry.violation;
    counts[type] += entry.devices;
    price += problem_.price[type] * entry.devices;
  }
  if (problem_.types <= kCountedTypes) price = hourly_price(problem_, counts);
  return price_plan(problem_, time, price, limit_violation(problem_, counts), violation);
}

void Scorer::provision(const std::int8_t* schemes, size_t count, const ScoreArrays& scores) const {
  Provisioner provisioner(problem_);
  std::vector<Stage> stages;
  for (size_t i = 0; i < count; ++i) {
    merge(problem_, loads_, schemes + i * problem_.layers, stages);
    scores.set(i, at_target_ ? provisioner.reach(stages, time_) : provisioner.best(stages, steps_));
  }
}

size_t first_bad_gene(const std::int8_t* genes, size_t count, int labels) {
  const auto most = static_cast<std::uint8_t>(labels - 1);
  if (chosen_set().largest_gene(genes, count) <= most) return count;
  const auto bad = [&](std::int8_t gene) { return static_cast<std::uint8_t>(gene) > most; };
  return static_cast<size_t>(std::find_if(genes, genes + count, bad) - genes);
}

}  // namespace stageplan
