// Scores among options, in the namespace of an instruction set that has `stage_ends` of 64 layers.

namespace {

// What the stages of one scheme add up to.
struct OptionSums {
  double slowest = 0, pass = 0, sync = 0;
  int counts[kMaxLabels];
  std::uint64_t used[kMaxLabels / 64] = {};
  bool unfit = false;

  explicit OptionSums(int types) { std::fill(counts, counts + types, 0); }

  void add(const OptionTable::Entry& entry, int type) {
    slowest = std::max(slowest, entry.time);
    pass += entry.pass;
    sync = std::max(sync, entry.sync);
    counts[type] += entry.devices;
    used[type / 64] |= std::uint64_t{1} << (type % 64);
    unfit |= entry.devices == OptionTable::kUnfit;
  }
};

int rented(const Columns& columns, int type, int devices) {
  if (!columns.whole_machines || columns.machine[type] == kInfinity) return devices;
  const int machine = static_cast<int>(columns.machine[type]);
  return (devices + machine - 1) / machine * machine;
}

// In the order in which OptionPlan adds up.
Score score_of(const OptionKernelInput& in, const OptionSums& sums, int stages) {
  double price = in.problem.fixed_price, over = 0;
  for (int word = 0; word < kMaxLabels / 64; ++word)
    for (std::uint64_t left = sums.used[word]; left != 0; left &= left - 1) {
      const int type = 64 * word + std::countr_zero(left);
      const double devices = rented(in.columns, type, sums.counts[type]);
      price += in.problem.price[type] * devices;
      over += std::max(0.0, devices - in.problem.limit[type]) * in.problem.limit_weight()[type];
    }
  const double time = plan_time(in.columns, sums.slowest, sums.pass, sums.sync);
  return price_plan(in.problem, time, price, over, excess(stages, in.columns.max_stages));
}

Score score_scheme(const OptionKernelInput& in, const std::int8_t* scheme, const std::uint64_t* ends,
                   int stages) {
  const OptionTable* const table = in.scorer.table(stages, in.group);
  if (!table) return Score();
  const int types = in.problem.types, microbatches = in.columns.microbatches;
  const bool by_position = in.columns.schedule == Schedule::one_f_one_b;
  OptionSums sums(types);
  int first = 0, behind = stages;
  for (int from = 0; from < in.problem.layers; from += 64)
    for (std::uint64_t left = ends[from / 64]; left != 0; left &= left - 1, --behind) {
      const int last = from + std::countr_zero(left), type = scheme[last] >> in.label_shift;
      const OptionTable::Entry& entry = table->row(first)[last * types + type];
      sums.add(by_position ? table->at(entry, std::min(behind, microbatches)) : entry, type);
      first = last + 1;
    }
  return sums.unfit ? Score() : score_of(in, sums, stages);
}

}  // namespace

void score_options(const OptionKernelInput& in, const std::int8_t* schemes, size_t count,
                   const ScoreArrays& scores) {
  const int layers = in.problem.layers;
  std::vector<std::uint64_t> ends((layers + 63) / 64);
  for (size_t i = 0; i < count; ++i) {
    const std::int8_t* scheme = schemes + i * layers;
    int stages = 0;
    for (int from = 0; from < layers; from += 64) {
      const int part = std::min(64, layers - from);
      ends[from / 64] = stage_ends(scheme + from, part, from + part == layers);
      stages += std::popcount(ends[from / 64]);
    }
    scores.set(i, score_scheme(in, scheme, ends.data(), stages));
  }
}
